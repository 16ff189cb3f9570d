#include "server/http/request_collector.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

constexpr size_t kMaxBody = 100;

// After how many bytes, that come one by one, it waits no more; 0: it still waits.
size_t BytesWaitedFor(const std::string& text) {
  RequestCollector collector(kMaxBody);
  for (size_t i = 0; i < text.size(); ++i) {
    if (collector.Add(text.substr(i, 1))) {
      EXPECT_EQ(collector.Take(), text.substr(0, i + 1));
      return i + 1;
    }
  }
  return 0;
}

TEST(RequestCollectorTest, WaitsForTheHeadAndItsBody) {
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(get + "more"), get.size());
  EXPECT_EQ(BytesWaitedFor(get.substr(0, get.size() - 1)), 0u);
  const std::string post = "POST / HTTP/1.1\r\ncontent-LENGTH:  3\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(post + "ab"), 0u);
  EXPECT_EQ(BytesWaitedFor(post + "abcd"), post.size() + 3);
}

TEST(RequestCollectorTest, WaitsForTheLastChunk) {
  const std::string post = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(post + "3\r\nabc\r\n"), 0u);
  EXPECT_EQ(BytesWaitedFor(post + "3\r\nabc\r\n0\r\n\r\n"), post.size() + 13);
}

TEST(RequestCollectorTest, TakesNothingElseForTheLastChunk) {
  const std::string post = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Count: 10\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(post), 0u) << "a head that ends like it";
  const std::string content = "5\r\n0\r\n\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(post + content), 0u) << "content that ends like it";
  EXPECT_EQ(BytesWaitedFor(post + content + "0\r\n\r\n"), post.size() + content.size() + 5);
  EXPECT_EQ(BytesWaitedFor(post + "10\r\n\r\n"), 0u) << "a size that ends like it";
}

TEST(RequestCollectorTest, KnowsExtensionsAndTrailersOfChunks) {
  const std::string post = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string body = "0A ;name=value\r\n0123456789\r\n00\r\nX-Trailer: 0\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(post + body + "more"), post.size() + body.size());
}

TEST(RequestCollectorTest, WaitsForNoChunksThatAreBroken) {
  const std::string post = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string broken :
       {"x\r\n", "-1\r\n", "0x1\r\n", "\r\n", "ffffffffffffffffffff\r\n", "3\r\nabcd\r\n"}) {
    EXPECT_EQ(BytesWaitedFor(post + broken), post.size() + broken.size()) << broken;
  }
}

TEST(RequestCollectorTest, WaitsForNothingTooLarge) {
  EXPECT_EQ(BytesWaitedFor(std::string(1 << 20, 'x')), RequestCollector::kMaxHeadBytes + 1);
  const std::string large = "POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n";
  EXPECT_EQ(BytesWaitedFor(large + "body"), large.size());
  const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_GT(BytesWaitedFor(chunked + std::string(1 << 20, 'x')), chunked.size() + kMaxBody);
}

TEST(RequestCollectorTest, LeavesWhatIsWrongToItsReader) {
  for (const std::string length : {"-1", "1e9", "x", "99999999999999999999999999", ""}) {
    const std::string post = "POST / HTTP/1.1\r\nContent-Length: " + length + "\r\n\r\n";
    EXPECT_EQ(BytesWaitedFor(post), post.size()) << length;
  }
}

}  // namespace
}  // namespace peerage
