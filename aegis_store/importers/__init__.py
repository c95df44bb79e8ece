"""What other stores hold, brought into one of ours: what LangGraph's SqliteSaver and PostgresSaver wrote.

    source = SqliteSource("checkpoints.db")  # or PostgresSource("postgresql://…")
    outcome = Transfer(source, store).run()
    assert compare(source, store).different == 0

`aegis import langgraph-sqlite` and `langgraph-postgres` are that with words. Why so: docs/decisions/0023-importers.md.
"""
