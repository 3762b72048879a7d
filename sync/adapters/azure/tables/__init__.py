"""State in Azure Table Storage: a file a table says what its rows look like, and how the port reads and writes them."""
