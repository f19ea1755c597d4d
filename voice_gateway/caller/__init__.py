"""The caller leg: what is spoken with the carrier. One pure dialect, one thin socket, the webhook's answers."""
