"""Agent runtimes that keep what they save in a store: one folder or file a runtime, imported only when asked for."""
