"""State in Azure Table Storage, one module per table: the form of its rows and how the port reads and writes them."""
