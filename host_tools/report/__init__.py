"""Results for people: the page, its pictures, the model card, tables on the terminal."""
