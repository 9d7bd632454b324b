"""The command line. Every module here is imported only when its command is asked for."""
