"""What decides whether, when and for how long an operation is carried out, apart from what it does."""
