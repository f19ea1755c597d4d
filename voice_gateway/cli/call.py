"""`voice-gateway call`: place an emulated call against a running gateway."""
