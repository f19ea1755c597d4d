"""The model leg: the OpenAI Realtime dialect (pure) and its socket (the shell)."""
