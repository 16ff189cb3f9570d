#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"
#include "train/data/documents.h"
#include "train/data/packed_text.h"
#include "train/data/sequence_order.h"

namespace peerage::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> DocumentsOf(const std::string& path) {
  std::vector<std::string> documents;
  const absl::Status status = ReadDocuments(path, "text", [&](absl::string_view text) {
    documents.emplace_back(text);
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return documents;
}

TEST(DocumentsTest, ATextFileIsOne) {
  const TemporaryDirectory folder;
  EXPECT_THAT(DocumentsOf(folder.Write("a.txt", "one\n\ntwo\n")), ElementsAre("one\n\ntwo\n"));
}

TEST(DocumentsTest, EveryLineOfJsonIsOne) {
  const TemporaryDirectory folder;
  const std::string path =
      folder.Write("a.jsonl", "{\"text\": \"one\\n\", \"id\": 3}\n\n{\"text\": \"two\"}");
  EXPECT_THAT(DocumentsOf(path), ElementsAre("one\n", "two"));
}

TEST(DocumentsTest, WrongLinesAreNamed) {
  const TemporaryDirectory folder;
  for (const char* line : {"{\"body\": \"one\"}", "[1]", "{\"text\": 3}", "{"}) {
    const std::string path = folder.Write("a.jsonl", std::string("{\"text\": \"\"}\n") + line);
    const absl::Status status =
        ReadDocuments(path, "text", [](absl::string_view) { return absl::OkStatus(); });
    EXPECT_THAT(std::string(status.message()), HasSubstr("a.jsonl:2: ")) << line;
  }
}

TEST(DocumentsTest, DirectoriesGiveTheirTextsInOrder) {
  const TemporaryDirectory folder;
  std::filesystem::create_directory(folder.PathOf("b"));
  for (const char* name : {"c.txt", "a.jsonl", "b/x.txt", "readme.md"}) folder.Write(name, "");
  const auto files = TextFiles({folder.path()});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files, ElementsAre(folder.PathOf("a.jsonl"), folder.PathOf("b/x.txt"),
                                  folder.PathOf("c.txt")));
  std::filesystem::create_directory(folder.PathOf("none"));
  EXPECT_THAT(std::string(TextFiles({folder.PathOf("none")}).status().message()),
              HasSubstr("holds no .txt and no .jsonl files"));
}

std::unique_ptr<Tokenizer> SmallTokenizer() {
  const TokenizerSource source{
      .hugging_face = HuggingFaceTokenizer{.tokenizer_json = kSmallTokenizerJson},
      .config_eos_ids = {3},
      .vocab_size = 8};
  return *Tokenizer::Load(source);
}

TEST(PackedTextTest, PacksDocumentsWithAnEndBehindEach) {
  const TemporaryDirectory folder;
  // "<s>" in a text is no special token, and this tokenizer has no letters for it.
  const std::string path =
      folder.Write("a.jsonl", "{\"text\": \"abb\"}\n{\"text\": \"aab\"}\n{\"text\": \"b\"}\n");
  const auto text = PackedText::Read(*SmallTokenizer(), {path}, "text", 3);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->tokens(), 8);  // ab b </s>  a ab </s>  b </s>
  ASSERT_EQ(text->sequences(), 2);
  EXPECT_THAT(text->Sequence(0), ElementsAre(2, 1, 3, 0));
  EXPECT_THAT(text->Sequence(1), ElementsAre(0, 2, 3, 1));
}

using Place = SequenceOrder::Place;

std::vector<Place> Take(SequenceOrder& order, int count) {
  std::vector<Place> places(count);
  std::generate(places.begin(), places.end(), [&] { return order.Next(); });
  return places;
}

TEST(SequenceOrderTest, TakesEverySequenceOnceBeforeAnyAgain) {
  SequenceOrder order({{.sequences = 7, .weight = 7}}, 5);
  std::set<int64_t> first, second;
  std::vector<int64_t> one, other;
  for (const Place& place : Take(order, 7)) one.push_back(place.sequence);
  for (const Place& place : Take(order, 7)) other.push_back(place.sequence);
  EXPECT_THAT(one, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(other, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_NE(one, other);
}

TEST(SequenceOrderTest, MixesSourcesByTheirWeightsAllTheTime) {
  SequenceOrder order({{.sequences = 5, .weight = 3}, {.sequences = 100, .weight = 1}}, 1);
  for (int i = 0; i < 20; ++i) {
    const std::vector<Place> places = Take(order, 4);
    EXPECT_EQ(std::count_if(places.begin(), places.end(),
                            [](const Place& place) { return place.source == 0; }),
              3);
  }
}

TEST(SequenceOrderTest, SkippingIsTaking) {
  const std::vector<SequenceOrder::Source> sources = {{.sequences = 4, .weight = 0.3},
                                                      {.sequences = 9, .weight = 0.7}};
  SequenceOrder whole(sources, 8);
  const std::vector<Place> expected = Take(whole, 40);
  for (const int skipped : {0, 1, 7, 25}) {
    SequenceOrder order(sources, 8);
    order.Skip(skipped);
    EXPECT_EQ(Take(order, 40 - skipped),
              std::vector<Place>(expected.begin() + skipped, expected.end()));
  }
}

TEST(SequenceOrderTest, DependsOnTheSeed) {
  SequenceOrder one({{.sequences = 50, .weight = 1}}, 1),
      other({{.sequences = 50, .weight = 1}}, 2);
  EXPECT_NE(Take(one, 50), Take(other, 50));
}

}  // namespace
}  // namespace peerage::train
