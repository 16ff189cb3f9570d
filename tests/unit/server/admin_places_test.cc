#include "server/http/admin_places.h"

#include <gtest/gtest.h>

#include <vector>

namespace peerage {
namespace {

using Stage = AdminPlace::Stage;

constexpr AdminPlaceLimits kLimits = {.all = 6, .of_peer = 3};
constexpr std::optional<uint64_t> kNobody = std::nullopt;

AdminPlace Place(uint64_t id, const char* peer, Stage stage, int second) {
  return {.id = id, .peer = peer, .stage = stage, .since = absl::FromUnixSeconds(second)};
}

void ExpectGoes(const char* peer, const std::vector<AdminPlace>& places,
                std::optional<uint64_t> goes) {
  const Admission admission = Admit(peer, places, kLimits);
  EXPECT_TRUE(admission.may_come);
  EXPECT_EQ(admission.goes, goes);
}

TEST(AdminPlacesTest, NobodyGoesWhileThereIsRoom) {
  ExpectGoes("a", {}, kNobody);
  ExpectGoes("a", {Place(1, "a", Stage::kAsking, 1), Place(2, "a", Stage::kAsking, 2)}, kNobody);
}

TEST(AdminPlacesTest, APeersOwnMakePlaceForHim) {
  const std::vector<AdminPlace> places = {
      Place(1, "a", Stage::kAsking, 1), Place(2, "a", Stage::kAnswering, 2),
      Place(3, "a", Stage::kAsking, 3), Place(4, "b", Stage::kAsking, 0)};
  ExpectGoes("a", places, 1);
  ExpectGoes("b", places, kNobody);
}

TEST(AdminPlacesTest, WhoHadHisAnswerFirstGoesFirst) {
  ExpectGoes("a",
             {Place(1, "a", Stage::kAsking, 1), Place(2, "a", Stage::kAnswered, 6),
              Place(3, "a", Stage::kAnswered, 5)},
             3);
}

TEST(AdminPlacesTest, WhoHasMostMakesPlaceForOthers) {
  ExpectGoes("c",
             {Place(1, "b", Stage::kAsking, 1), Place(2, "a", Stage::kAsking, 4),
              Place(3, "a", Stage::kAsking, 3), Place(4, "a", Stage::kAsking, 5),
              Place(5, "b", Stage::kAnswered, 2), Place(6, "d", Stage::kAsking, 2)},
             3);
}

TEST(AdminPlacesTest, OthersDoWhereNoneOfHisCan) {
  std::vector<AdminPlace> places = {
      Place(1, "a", Stage::kAnswering, 1), Place(2, "a", Stage::kAnswering, 4),
      Place(3, "a", Stage::kAnswering, 3), Place(4, "b", Stage::kAsking, 5),
      Place(5, "b", Stage::kAsking, 2),    Place(6, "d", Stage::kAnswering, 2)};
  ExpectGoes("c", places, 5);
  EXPECT_FALSE(Admit("a", places, kLimits).may_come) << "all of his are being answered";
  for (AdminPlace& place : places) place.stage = Stage::kAnswering;
  EXPECT_FALSE(Admit("c", places, kLimits).may_come);
}

}  // namespace
}  // namespace peerage
