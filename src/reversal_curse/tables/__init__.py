"""The Parquet tables: their schemas, reading and writing, and what is computed from them."""
