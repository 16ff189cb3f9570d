#!/usr/bin/env python3
"""Builds small houses and counts them by hand."""

import pathlib
import tempfile
import unittest

import house_figures
import source_measures

KINDS = """#pragma once
namespace peerage {
using FfnConfig =
    std::variant<DenseFfn, Peer>;
}
"""

SHARED = "".join(f"int shared_{i} = {i};\n" for i in range(7))

LIFE = """# The life of a request

1. **`server/rpc/service.cc`** and its header `service.h`, `Schedule(now)`, `build/none.cc`.
2. `rpc/convert` beside it.

   Here `engine.cc`:
   `model/nn/layer.cc`.

Not on the way: `model/kernels/norm.cc`.
"""

ARCHITECTURE = """# Architecture

## The way of a tensor

```
model/nn/layer.cc   the layer
model/kernels/norm.cc
```

### In detail

`base/text.h`

## Numerics

`server/rpc/service.cc`
"""

FILES = {
    "base/text.h": "#pragma once\n",
    "client/main.cc": "int main() {}\n" * 31,
    "server/rpc/service.h": "",
    "server/rpc/service.cc": "",
    "server/rpc/convert.cc": "",
    "server/engine/engine.cc": "",
    "server/engine/CMakeLists.txt": "",
    "model/config/model_config.h": KINDS,
    "model/nn/layer.cc": "",
    "model/kernels/norm.cc": "",
    "tests/unit/all_test.cc": "std::get_if<Peer>(&ffn);\n",
    "docs/life_of_a_request.md": LIFE,
    "docs/architecture.md": ARCHITECTURE,
}


class HouseTest(unittest.TestCase):
    def house(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in files.items():
            path = pathlib.Path(folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return house_figures.House(pathlib.Path(folder.name))


class FilesTest(HouseTest):
    def test_are_counted_where_they_lie(self):
        counts = house_figures.files_per_folder(self.house(FILES))
        self.assertEqual(counts["server/rpc"], 3)
        self.assertEqual(counts["server/engine"], 2)  # its CMakeLists.txt, too
        self.assertNotIn("tests/unit", counts)

    def test_of_thirty_lines_are_small(self):
        house = self.house({"base/a.h": "x\n" * 30, "base/b.h": "x\n" * 31})
        self.assertEqual(house_figures.small_files(house), ["base/a.h"])

    def test_are_spread_by_nearest_rank(self):
        self.assertEqual(house_figures.spread([5]), "5 / 5 / 5")
        self.assertEqual(house_figures.spread(range(1, 11)), "5 / 9 / 10")
        self.assertEqual(house_figures.spread([]), "-")


class FunctionsTest(unittest.TestCase):
    def lengths(self, text):
        return [length for _, length in source_measures.functions(text.splitlines())]

    def test_are_what_has_a_body_of_lines(self):
        self.assertEqual(self.lengths("int F() {\n  if (x) {\n    y();\n  }\n}\n"), [3])
        self.assertEqual(self.lengths("int F() { return 1; }\nclass A(x) {\n};\n"), [])

    def test_may_have_a_signature_of_several_lines(self):
        self.assertEqual(self.lengths("int F(int a,\n      int b) {\n  if (a) {\n  }\n  b();\n}\n"), [3])
        self.assertEqual(self.lengths("A::A(int a)\n    : a_(a),\n      b_(a) {\n  c();\n}\n"), [1])
        self.assertEqual(self.lengths("void F() {\n  if (a(b,\n        c)) {\n    d();\n  }\n}\n"), [4])


class KindsTest(HouseTest):
    def test_are_told_apart_by_their_enum_by_asking_and_by_visiting(self):
        texts = {
            "model/a.cc": "case FfnKind::kPeer:\n",
            "model/b.cc": "if (std::get_if<Peer>(&ffn)) return;\n",
            "model/c.cc": "std::holds_alternative<const nn::DenseFfn>(ffn);\n",
            "model/d.cc": "std::visit(Overloaded{[](const Peer& peer) {}}, ffn);\n",
        }
        house = self.house({**FILES, **texts})
        self.assertEqual(house_figures.files_that_tell_kinds_apart(house), list(texts))

    def test_are_not_told_apart_by_what_only_uses_one(self):
        texts = {
            "model/a.cc": "std::visit([](const auto& part) { part.Run(); }, ffn);\n",
            "model/b.cc": "std::get_if<std::string>(&value);\nvoid Run(const Peer& peer);\n",
            "model/c.cc": "std::get_if<PeerTable>(&value);\n",
            "model/d.cc": "std::sort(a, b, [](const Peer& peer) { return peer.top_k; });\n",
        }
        house = self.house({**FILES, **texts})
        self.assertEqual(house_figures.files_that_tell_kinds_apart(house), [])


class DuplicatesTest(HouseTest):
    def test_are_counted_once_however_long_they_are(self):
        house = self.house({"base/a.cc": f"int a;\n\n{SHARED}", "server/b.cc": SHARED + "int b;\n"})
        self.assertEqual(house_figures.duplicates(house),
                         ["base/a.cc:3 and server/b.cc:1, 7 lines"])

    def test_may_differ_in_indent_and_blank_lines(self):
        other = SHARED.replace("\n", "\n\n  ")
        self.assertEqual(len(house_figures.duplicates(self.house(
            {"base/a.cc": SHARED, "base/b.cc": other}))), 1)

    def test_of_five_lines_or_of_what_every_file_has_are_none(self):
        frame = "#include <a>\n#include <b>\n#include <c>\n#include <d>\nnamespace peerage {\n"
        five = "".join(SHARED.splitlines(keepends=True)[:5])
        house = self.house({"base/a.cc": frame + five, "base/b.cc": frame + five})
        self.assertEqual(house_figures.duplicates(house), [])

    def test_do_not_overlap_themselves(self):
        self.assertEqual(house_figures.duplicates(self.house({"base/a.cc": "x();\n" * 11})), [])


class WaysTest(HouseTest):
    def test_of_a_request_is_the_numbered_list(self):
        self.assertEqual(house_figures.way_of_a_request(self.house(FILES)),
                         ["server/rpc/service", "server/rpc/convert", "server/engine/engine",
                          "model/nn/layer"])

    def test_of_a_request_is_the_section_about_it_where_there_is_one(self):
        text = LIFE + "\n## The files on the way\n\n- `server/engine/engine.cc`\n"
        house = self.house({**FILES, "docs/life_of_a_request.md": text})
        self.assertEqual(house_figures.way_of_a_request(house), ["server/engine/engine"])

    def test_of_a_tensor_is_its_section_and_may_be_fenced(self):
        self.assertEqual(house_figures.way_of_a_tensor(self.house(FILES)),
                         ["model/nn/layer", "model/kernels/norm", "base/text"])

    def test_take_a_bare_name_for_the_nearest_file(self):
        files = {name: "" for name in ("server/rpc/x.cc", "server/engine/x.cc", "server/rpc/y.cc",
                                       "server/engine/z.cc")}
        house = self.house(files)
        self.assertEqual(house_figures.files_named(house, "`server/engine/z.cc` `x.cc`"),
                         ["server/engine/z", "server/engine/x"])
        self.assertEqual(house_figures.files_named(house, "`rpc/y.cc`, `x.cc`, `x`"),
                         ["server/rpc/y", "server/rpc/x"])


class TableTest(HouseTest):
    def test_has_a_column_for_each_house(self):
        before, after = self.house(FILES), self.house({"base/text.h": "", "base/json/a.h": ""})
        table = house_figures.table([before, after])
        self.assertIn("|  | before | after |\n| --- | ---: | ---: |\n", table)
        self.assertIn("| files in base/json/ | - | 1 |\n", table)
        self.assertIn("| files in base/ | 1 | 1 |\n", table)
        self.assertIn("(docs/life_of_a_request.md) | 4 | - |\n", table)

    def test_has_one_column_for_one_house(self):
        self.assertIn("| headers | 3 |\n", house_figures.table([self.house(FILES)]))


if __name__ == "__main__":
    unittest.main()
