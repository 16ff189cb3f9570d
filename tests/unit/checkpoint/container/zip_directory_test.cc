#include "model/checkpoint/container/zip_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/little_endian.h"
#include "tests/support/memory_file.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

template <typename... Values>
std::string Fields(Values... values) {
  return (LittleEndianBytes(values) + ...);
}

std::string LocalHeader(const std::string& name, uint16_t method = 0) {
  return Fields<uint32_t, uint16_t, uint16_t, uint16_t, uint32_t, uint32_t, uint32_t, uint32_t,
                uint16_t, uint16_t>(0x04034b50, 20, 0, method, 0, 0, 0, 0, name.size(), 3) +
         name + "pad";
}

struct ZipFields {
  uint16_t method = 0;
  uint32_t bytes = 4;
  uint32_t unpacked = 4;
  uint32_t header = 0;
  std::string extra;
};

std::string DirectoryHeader(const std::string& name, const ZipFields& entry) {
  return Fields<uint32_t, uint16_t, uint16_t, uint16_t, uint16_t, uint32_t, uint32_t, uint32_t,
                uint32_t, uint16_t, uint16_t, uint16_t, uint16_t, uint16_t, uint32_t, uint32_t>(
             0x02014b50, 20, 20, 0, entry.method, 0, 0, entry.bytes, entry.unpacked, name.size(),
             entry.extra.size(), 0, 0, 0, 0, entry.header) +
         name + entry.extra;
}

std::string End(uint16_t entries, uint32_t directory, uint32_t begin, uint16_t comment = 0) {
  return Fields<uint32_t, uint16_t, uint16_t, uint16_t, uint16_t, uint32_t, uint32_t, uint16_t>(
      0x06054b50, 0, 0, entries, entries, directory, begin, comment);
}

std::string End64(uint64_t entries, uint64_t directory, uint64_t begin) {
  return Fields<uint32_t, uint64_t, uint16_t, uint16_t, uint32_t, uint32_t, uint64_t, uint64_t,
                uint64_t, uint64_t>(0x06064b50, 44, 45, 45, 0, 0, entries, entries, directory,
                                    begin) +
         Fields<uint32_t, uint32_t, uint64_t, uint32_t>(0x07064b50, 0, begin + directory, 1);
}

// An archive of one file "a/b" with the bytes "wxyz".
std::string Archive(const ZipFields& entry, const std::string& directory_name = "a/b") {
  const std::string file = LocalHeader("a/b", entry.method) + "wxyz";
  const std::string directory = DirectoryHeader(directory_name, entry);
  return file + directory + End(1, directory.size(), file.size());
}

// What is wrong with the archive or its first file.
std::string ZipFault(const std::string& archive) {
  const MemoryFile file(archive);
  const auto entries = ReadZipDirectory(file);
  if (!entries.ok()) return std::string(entries.status().message());
  return std::string(FindZipBytes(file, entries->front()).status().message());
}

void ExpectTheOneFile(const std::string& archive) {
  const MemoryFile file(archive);
  const auto entries = ReadZipDirectory(file);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(*entries, SizeIs(1));
  EXPECT_EQ(entries->front().name, "a/b");
  EXPECT_EQ(entries->front().bytes, 4u);
  const auto begin = FindZipBytes(file, entries->front());
  ASSERT_TRUE(begin.ok()) << begin.status();
  EXPECT_EQ(archive.substr(*begin, 4), "wxyz");
}

TEST(ZipDirectoryTest, FindsTheBytesOfAStoredFile) { ExpectTheOneFile(Archive({})); }

TEST(ZipDirectoryTest, Reads64BitSizesAndPlaces) {
  constexpr uint32_t kIn64Bits = 0xffffffff;
  const std::string extra =
      Fields<uint16_t, uint16_t, uint16_t>(0x9999, 2, 7) +  // another field
      Fields<uint16_t, uint16_t, uint64_t, uint64_t, uint64_t>(1, 24, 4, 4, 0);
  const std::string file = LocalHeader("a/b") + "wxyz";
  const std::string directory = DirectoryHeader(
      "a/b", {.bytes = kIn64Bits, .unpacked = kIn64Bits, .header = kIn64Bits, .extra = extra});

  ExpectTheOneFile(file + directory + End64(1, directory.size(), file.size()) +
                   End(0xffff, kIn64Bits, kIn64Bits));
  EXPECT_THAT(ZipFault(file + directory + End64(1, directory.size() + 1, file.size()) +
                       End(0xffff, kIn64Bits, kIn64Bits)),
              HasSubstr("ZIP64 record is not before its locator"));
}

TEST(ZipDirectoryTest, RefusesWhatIsNotStoredAsItIs) {
  EXPECT_THAT(ZipFault(Archive({.method = 8})), HasSubstr("\"a/b\": is compressed or encrypted"));
  EXPECT_THAT(ZipFault(Archive({.unpacked = 5})), HasSubstr("is compressed"));
}

TEST(ZipDirectoryTest, RefusesDirectoriesThatDoNotFitTheFile) {
  const std::string file = LocalHeader("a/b") + "wxyz";
  const std::string entry = DirectoryHeader("a/b", {});
  const uint32_t size = entry.size(), begin = file.size();
  const std::pair<std::string, std::string> kFaults[] = {
      {Archive({.bytes = 1000, .unpacked = 1000}), "lies beyond the end of the file"},
      {Archive({.header = 1000}), "lies beyond the end of the file"},
      {Archive({.header = 1}), "lies beyond the end of the file"},
      {Archive({}, "a/c"), "local header is not the directory's"},
      {Archive({.bytes = 0xffffffff}), "no ZIP64 field"},
      {file + entry + End(1, size, begin + 1), "directory is not where its end says"},
      {file + entry + End(1, size - 1, begin), "directory is not where its end says"},
      {file + entry + End(2, size, begin), "a zip directory of 2 entries"},
      {file + entry + End(0, size, begin), "longer than its entries"},
      {file + entry + entry + End(2, 2 * size, begin), "two zip entries named \"a/b\""},
      {file + entry + End(1, size, begin, 1) + "!", "without its end"},
      {file + entry + End(1, size, begin) + "!", "without its end"},
      {"PK", "without its end"},
  };
  for (const auto& [archive, fault] : kFaults) EXPECT_THAT(ZipFault(archive), HasSubstr(fault));
}

}  // namespace
}  // namespace peerage
