"""How robust and how costly the deployed bundle is, beside what it replaces."""
