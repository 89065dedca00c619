"""How it is run: options, the graph, inputs, the state directory, the command line."""
