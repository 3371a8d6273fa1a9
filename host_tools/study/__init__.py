"""``kws study``: one base model compressed in many ways, and what each way costs and gives. docs/study.md."""
