"""What assets and sensors get handed: storage and sources of this installation."""
