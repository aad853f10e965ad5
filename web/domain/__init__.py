"""What a sale is, whoever sells it and wherever it is kept."""
