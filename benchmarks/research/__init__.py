"""What the datasets from outside the ad account cost."""
