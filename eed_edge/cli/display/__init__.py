"""What commands print: tables, progress, and how to resume."""
