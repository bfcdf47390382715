"""What can be said of stored data without asking anybody: pure functions, frames in, frames out."""
