"""`python -m voice_gateway` is the command line."""

from voice_gateway.cli import main

if __name__ == "__main__":
    main()
