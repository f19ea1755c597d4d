"""What the people who run the gateway see of it: logs and metrics, with secrets and phone numbers taken out."""
