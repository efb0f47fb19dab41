"""Raw files of a section, as each kind of cohort lays them out: a module a layout, with one function `read`."""
