#include "server/identity/watched_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "server/identity/identity_files.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

TEST(WatchedFilesTest, SeesWhatChangesComesAndGoes) {
  const TemporaryDirectory folder;
  const std::string a = folder.Write("a", "one");
  const std::string b = folder.PathOf("b");
  WatchedFiles files({a, b});
  EXPECT_FALSE(files.HaveChanged());
  folder.Write("a", "two");
  EXPECT_TRUE(files.HaveChanged());
  EXPECT_FALSE(files.HaveChanged());
  folder.Write("a", "two");
  EXPECT_FALSE(files.HaveChanged()) << "the same again";
  folder.Write("b", "");
  EXPECT_TRUE(files.HaveChanged());
  std::filesystem::remove(a);
  EXPECT_TRUE(files.HaveChanged());
  EXPECT_FALSE(files.HaveChanged());
}

TEST(WatchedFilesTest, ReadsNoMoreThanAMegabyte) {
  const TemporaryDirectory folder;
  const std::string full(1 << 20, 'x');
  EXPECT_EQ(ReadSmallFile(folder.Write("full", full)).value_or(""), full);
  const auto larger = ReadSmallFile(folder.Write("larger", full + "x"));
  EXPECT_TRUE(absl::IsInvalidArgument(larger.status()));
  EXPECT_THAT(std::string(larger.status().message()), HasSubstr("larger"));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSmallFile(folder.PathOf("none")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSmallFile(folder.path()).status())) << "a folder";
}

TEST(ReadIdentitiesTest, NamesTheFileThatIsWrong) {
  const TemporaryDirectory folder;
  const std::string tokens = folder.Write("tokens", "alice secret\n");
  const std::string policy = folder.Write("policy", R"({"principals": {"alice": 1}})");
  const auto of_tokens = ReadIdentities({.tokens = tokens}, {"a/b"});
  EXPECT_THAT(std::string(of_tokens.status().message()), HasSubstr(tokens + ": line 1"));
  const auto of_policy = ReadIdentities({.policy = policy}, {"a/b"});
  EXPECT_THAT(std::string(of_policy.status().message()), HasSubstr(policy + ": principals"));
  const auto none = ReadIdentities({}, {"a/b"});
  ASSERT_TRUE(none.ok());
  EXPECT_NE(none->policy.Find("alice"), nullptr);
}

}  // namespace
}  // namespace peerage
