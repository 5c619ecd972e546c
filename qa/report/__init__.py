"""Reports: result.json into JUnit XML, one HTML file, and the terminal."""
