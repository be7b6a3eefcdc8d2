"""The page for people: Streamlit over the portfolio's API and the database, which it only reads."""
