"""Rows in, options of ECharts out. Nothing here knows Streamlit or the database."""
