"""What other runtimes' stores hold, brought into one of ours: LangGraph's SqliteSaver and PostgresSaver.

`aegis import langgraph-sqlite FILE PATH` and `langgraph-postgres URL PATH` are made of it. Why so: docs/decisions/0023-importers.md.
"""
