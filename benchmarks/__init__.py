"""What is measured against rivals; prints tables, asserts nothing about time."""
