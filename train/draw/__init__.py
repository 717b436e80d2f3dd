"""Drawing: pictures of results and photos, and the HTML reports."""
