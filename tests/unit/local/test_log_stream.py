"""Logging never stops what is logged."""

import os
import threading

from local.log_stream import LogStream


def test_lines_arrive_in_order():
    reader, writer = os.pipe()
    stream = LogStream(writer)
    for n in range(100):
        stream.write(f"{n}\n")
    with os.fdopen(reader) as lines:
        assert [int(lines.readline()) for _ in range(100)] == list(range(100))


def test_a_reader_that_stopped_reading_costs_lines_not_time():
    reader, writer = os.pipe()
    stream = LogStream(writer)
    filling = threading.Thread(target=lambda: [stream.write("x" * 1000 + "\n") for _ in range(20_000)], daemon=True)
    filling.start()
    filling.join(10)
    assert not filling.is_alive()
    assert stream.dropped > 0
    os.close(reader)


def test_a_closed_end_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    stream = LogStream(writer)
    for _ in range(3):
        stream.write("x\n")
    while not stream._lines.empty():
        pass
    assert stream.dropped == 0
