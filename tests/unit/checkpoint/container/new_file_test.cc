#include "model/checkpoint/container/new_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "model/checkpoint/container/random_access_file.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(NewFileTest, HasItsNameWhenItIsComplete) {
  const TemporaryDirectory directory;
  const std::string path = directory.PathOf("x");
  auto file = NewFile::Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE((*file)->Append("one ").ok());
  ASSERT_TRUE((*file)->Append("two").ok());

  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE((*file)->Finish().ok());
  file->reset();
  EXPECT_EQ(*ReadTextFile(path, 100), "one two");
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST(NewFileTest, LeavesNothingWithoutFinish) {
  const TemporaryDirectory directory;
  { const auto file = NewFile::Create(directory.PathOf("x")); }

  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(NewFileTest, NeverReplacesAFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("x", "old");

  EXPECT_EQ(WriteNewFile(path, "new").message(), path + ": is there already");
  EXPECT_EQ(*ReadTextFile(path, 100), "old");
}

TEST(NewFileTest, NamesTheFileThatCannotBeMade) {
  const TemporaryDirectory directory;

  EXPECT_THAT(std::string(WriteNewFile(directory.PathOf("no/x"), "").message()),
              HasSubstr(directory.PathOf("no/x")));
}

}  // namespace
}  // namespace peerage
