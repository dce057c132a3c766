"""The stores in SQL: tables, migrations, and one file a feature."""
