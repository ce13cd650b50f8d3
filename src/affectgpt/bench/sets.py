"""The nine test sets under the benchmark's own name; the table lies with their readers."""

from affectgpt.datamodules.unibench.sets import TEST_SETS, Task, TestSet, get_test_set

__all__ = ["TEST_SETS", "Task", "TestSet", "get_test_set"]
