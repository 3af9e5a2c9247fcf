"""What takes more than one process or machine."""
