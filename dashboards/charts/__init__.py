"""Rows in, Plotly figures out. Nothing here knows Streamlit or the database."""
