"""What is worth an alert, decided from values alone: facts and what is remembered of them in, readings out."""
