"""The command `letterpress new`: looks at data, plans the files, writes all of them or none."""
