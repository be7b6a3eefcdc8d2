"""One module a page. Not named `pages`: Streamlit takes a folder of that name for its own and runs the files in it by themselves."""
