#include "model/nn/cpu/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace peerage::nn::cpu {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHugePage = size_t{2} << 20;

size_t AddressOf(const void* place) { return reinterpret_cast<uintptr_t>(place); }

TEST(StorageTest, IsAlignedToItsPagesAndZero) {
  for (const auto& [pages, alignment] :
       {std::pair{Pages::kNormal, size_t{4096}}, {Pages::kHuge, kHugePage}}) {
    for (const size_t bytes : {size_t{1}, size_t{4095}, size_t{4097}, kHugePage + 1}) {
      const auto storage = Storage::Allocate(bytes, pages);
      ASSERT_TRUE(storage.ok()) << storage.status();
      EXPECT_EQ(AddressOf(storage->data()) % alignment, 0u) << bytes;
      EXPECT_GE(storage->size(), bytes);
      EXPECT_LT(storage->size(), bytes + alignment);
      const uint8_t* end = storage->data() + storage->size();
      EXPECT_EQ(std::count(static_cast<const uint8_t*>(storage->data()), end, 0),
                static_cast<ptrdiff_t>(storage->size()));
    }
  }
}

TEST(StorageTest, NothingIsMappedForNoBytes) {
  const auto storage = Storage::Allocate(0, Pages::kHuge);
  ASSERT_TRUE(storage.ok());
  EXPECT_EQ(storage->data(), nullptr);
  EXPECT_EQ(storage->size(), 0u);
}

// Sizes that the system refuses, and those that wrap around when they are rounded up.
TEST(StorageTest, RefusesAbsurdSizesByTheirSize) {
  for (const size_t bytes : {std::numeric_limits<size_t>::max(),
                             std::numeric_limits<size_t>::max() - kHugePage, size_t{1} << 62}) {
    for (const Pages pages : {Pages::kNormal, Pages::kHuge}) {
      const auto storage = Storage::Allocate(bytes, pages);
      ASSERT_EQ(storage.status().code(), absl::StatusCode::kResourceExhausted) << bytes;
      EXPECT_THAT(std::string(storage.status().message()), HasSubstr(std::to_string(bytes)));
    }
  }
}

TEST(StorageTest, KeepsItsPlaceWhenItIsMoved) {
  Storage first = *Storage::Allocate(97, Pages::kNormal);
  uint8_t* place = first.data();
  place[96] = 31;

  const Storage second = std::move(first);

  EXPECT_EQ(second.data(), place);
  EXPECT_EQ(second.data()[96], 31);
}

// Pieces of ugly sizes, some of them empty.
struct Pieces {
  std::vector<uint8_t*> places;
  void Lay(Arena& arena) {
    places.clear();
    for (const size_t bytes : kSizes) places.push_back(arena.Take(bytes));
  }
  static constexpr size_t kSizes[] = {1, 0, 63, 64, 65, 0, 257, 4096, 3};
};

TEST(ArenaTest, PiecesAreAlignedAndDisjoint) {
  Pieces pieces;
  const Storage storage = *AllocateFor(Pages::kNormal, [&](Arena& arena) { pieces.Lay(arena); });

  const uint8_t* end = storage.data();
  for (size_t i = 0; i < std::size(Pieces::kSizes); ++i) {
    EXPECT_EQ(AddressOf(pieces.places[i]) % Arena::kAlignment, 0u) << i;
    EXPECT_GE(pieces.places[i], end) << i;
    end = pieces.places[i] + Pieces::kSizes[i];
    std::fill_n(pieces.places[i], Pieces::kSizes[i], uint8_t{255});  // all of it may be written
  }
  EXPECT_LE(end, storage.data() + storage.size());
}

TEST(ArenaTest, TakesTheSameWithAndWithoutMemory) {
  Pieces pieces;
  Arena sizes;
  pieces.Lay(sizes);
  for (const uint8_t* place : pieces.places) EXPECT_EQ(place, nullptr);

  const Storage storage = *Storage::Allocate(sizes.used(), Pages::kNormal);
  Arena arena = ArenaOf(storage);
  pieces.Lay(arena);

  EXPECT_EQ(arena.used(), sizes.used());
  EXPECT_EQ(pieces.places[0], storage.data());
  EXPECT_EQ(BytesFor([&](Arena& other) { pieces.Lay(other); }), sizes.used());
}

TEST(ArenaTest, WhatIsRewoundIsTakenAgainAndThePeakCounts) {
  const Storage storage = *Storage::Allocate(4096, Pages::kNormal);
  Arena arena = ArenaOf(storage);
  arena.Take(100);
  const size_t mark = arena.mark();
  uint8_t* large = arena.Take(1000);
  const size_t peak = arena.used();

  arena.Rewind(mark);
  EXPECT_EQ(arena.Take(10), large);
  EXPECT_EQ(arena.used(), peak);
  arena.Rewind(mark);
  EXPECT_EQ(arena.Take(2000), large);
  EXPECT_GT(arena.used(), peak);
}

TEST(ArenaTest, ArraysCountElements) {
  Arena sizes;
  sizes.TakeArray<uint32_t>(33);
  Arena bytes;
  bytes.Take(33 * sizeof(uint32_t));
  EXPECT_EQ(sizes.used(), bytes.used());
}

TEST(ArenaTest, PaddedIsTheNextMultipleOfTheAlignment) {
  EXPECT_EQ(Arena::Padded(0), 0u);
  EXPECT_EQ(Arena::Padded(1), 64u);
  EXPECT_EQ(Arena::Padded(64), 64u);
  EXPECT_EQ(Arena::Padded(65), 128u);
}

TEST(ArenaTest, AllocationThatIsRefusedIsAnError) {
  const auto storage = AllocateFor(Pages::kHuge, [](Arena& arena) { arena.Take(size_t{1} << 62); });
  EXPECT_EQ(storage.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace peerage::nn::cpu
