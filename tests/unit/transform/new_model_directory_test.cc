#include "model/transform/new_model_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using ::testing::UnorderedElementsAre;

namespace fs = std::filesystem;

constexpr char kIsThere[] = ": is there already; --out takes a directory without a model's files";

std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename());
  return names;
}

class NewModelDirectoryTest : public ::testing::Test {
 protected:
  std::unique_ptr<NewModelDirectory> Begin(const std::string& path) const {
    auto directory = NewModelDirectory::Create({.path = path});
    EXPECT_TRUE(directory.ok()) << directory.status();
    if (!directory.ok()) return nullptr;
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::ofstream((*directory)->partial_path() + "/" + name) << name;
    }
    return *std::move(directory);
  }

  std::string ErrorText(const std::string& path) const {
    return std::string(NewModelDirectory::Create({.path = path}).status().message());
  }

  const TemporaryDirectory directory_;
};

TEST_F(NewModelDirectoryTest, HasItsFilesWhenItIsCommitted) {
  const std::string path = directory_.PathOf("a/b/");

  auto directory = Begin(path);

  EXPECT_THAT(NamesIn(path), UnorderedElementsAre("model.partial"));
  EXPECT_TRUE(directory->Commit().ok());
  directory.reset();
  EXPECT_THAT(NamesIn(path), UnorderedElementsAre("config.json", "model.safetensors"));
}

TEST_F(NewModelDirectoryTest, TakesAllThatItMadeAlongWithoutCommit) {
  Begin(directory_.PathOf("a/b/"));
  EXPECT_TRUE(fs::is_empty(directory_.path()));

  directory_.Write("README.md", "mine");
  Begin(directory_.path());
  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("README.md"));
}

TEST_F(NewModelDirectoryTest, RefusesAnythingThatAModelDirectoryIsReadFrom) {
  for (const char* name : {"model-00002-of-00002.safetensors", "config.json", "tokenizer.json",
                           "chat_template.jinja", "merges.txt", "pytorch_model.bin"}) {
    const std::string path = directory_.Write(name, "old");
    EXPECT_EQ(ErrorText(directory_.path()), path + kIsThere);
    EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre(name));
    fs::remove(path);
  }
}

TEST_F(NewModelDirectoryTest, ReplacesNothingThatCameMeanwhile) {
  auto directory = Begin(directory_.path());
  const std::string path = directory_.Write("config.json", "theirs");

  EXPECT_EQ(directory->Commit().message(), path + kIsThere);
  directory.reset();
  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("config.json"));
}

class ReplacingTest : public NewModelDirectoryTest {
 protected:
  ReplacingTest() {
    for (const char* name : {"config.json", "old.safetensors"}) {
      std::ofstream(directory_.PathOf(name)) << "old";
    }
  }

  std::unique_ptr<NewModelDirectory> Replace() const {
    auto directory = NewModelDirectory::Create(
        {.path = directory_.path(), .replaced = {"config.json", "old.safetensors", "gone.json"}});
    EXPECT_TRUE(directory.ok()) << directory.status();
    std::ofstream((*directory)->partial_path() + "/config.json") << "new";
    std::ofstream((*directory)->partial_path() + "/new.safetensors") << "new";
    return *std::move(directory);
  }

  std::string Text(const char* name) const {
    std::ifstream file(directory_.PathOf(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(ReplacingTest, PutsTheNewFilesInThePlaceOfTheOld) {
  auto directory = Replace();
  EXPECT_EQ(Text("config.json"), "old");
  EXPECT_TRUE(directory->Commit().ok());
  directory.reset();
  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("config.json", "new.safetensors"));
  EXPECT_EQ(Text("config.json"), "new");
}

TEST_F(ReplacingTest, PutsTheOldFilesBackWhenTheNewOnesCannotBeMoved) {
  auto directory = Replace();
  fs::create_directory(directory_.PathOf("merges"));
  fs::create_directory(directory->partial_path() + "/merges");
  EXPECT_FALSE(directory->Commit().ok());
  directory.reset();
  EXPECT_THAT(NamesIn(directory_.path()),
              UnorderedElementsAre("config.json", "old.safetensors", "merges"));
  EXPECT_EQ(Text("config.json"), "old");
}

TEST_F(ReplacingTest, WhatAKilledProcessSetAsideIsForTheUser) {
  fs::create_directory(directory_.PathOf("model.replaced"));
  const std::string text(
      NewModelDirectory::Check(directory_.path(), {"config.json", "old.safetensors"}).message());
  EXPECT_NE(text.find("model.replaced: holds the files of a model that was being replaced"),
            std::string::npos)
      << text;
}

TEST_F(NewModelDirectoryTest, RemovesWhatADeadProcessLeft) {
  fs::create_directories(directory_.PathOf("model.partial/folder"));
  directory_.Write("model.partial/model-00001-of-00002.safetensors.partial", "half");

  EXPECT_TRUE(Begin(directory_.path())->Commit().ok());

  EXPECT_THAT(NamesIn(directory_.path()), UnorderedElementsAre("config.json", "model.safetensors"));
}

TEST_F(NewModelDirectoryTest, LeavesALivingProcessAlone) {
  const auto first = Begin(directory_.path());

  EXPECT_EQ(ErrorText(directory_.path()),
            first->partial_path() + ": another process is writing a model there");
  EXPECT_TRUE(first->Commit().ok());
}

TEST_F(NewModelDirectoryTest, FollowsNoLinkOutOfTheDirectory) {
  const TemporaryDirectory elsewhere;
  elsewhere.Write("precious", "");
  fs::create_directory_symlink(elsewhere.path(), directory_.PathOf("model.partial"));

  EXPECT_EQ(NewModelDirectory::Create({.path = directory_.path()}).ok(), false);

  EXPECT_TRUE(fs::exists(elsewhere.PathOf("precious")));
}

TEST_F(NewModelDirectoryTest, NamesTheFileInItsPlace) {
  const std::string path = directory_.Write("file", "");

  EXPECT_EQ(ErrorText(path), path + ": Not a directory");
  EXPECT_EQ(ErrorText(path + "/below"), path + "/below: Not a directory");
}

}  // namespace
}  // namespace peerage::transform
