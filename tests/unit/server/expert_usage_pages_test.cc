#include "server/pages/expert_usage_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_map.h"
#include "model/experts/expert_numbers.h"
#include "model/experts/mixture_map.h"
#include "server/http/admin_server.h"
#include "server/pages/static_files.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// An engine that has answered one request, and the pages of its experts on a port.
class ExpertUsagePagesTest : public EngineTest {
 protected:
  ExpertUsagePagesTest() {
    Start({.every_turn = [this](int, absl::Time now) { statistics_->Advance(now); }},
          {.expert_layers = layers_}, [this](FakeModel* model) {
            statistics_ =
                std::make_unique<ExpertStatistics>(ExpertUsageMode::kRecent, model, clock_.Now());
          });
    sums_.emplace(&clock_);
    reader_.emplace(ExpertUsageParts{engine_.get(), {statistics_.get()}, &*sums_, &clock_});
    pages_.emplace(
        &*reader_, &layers_,
        ExpertUsagePages::Options{.model_name = "m", .trace_level = ExpertTraceLevel::kSummary});
    pages_->AddTo(*server_);
    EXPECT_TRUE(server_->Listen({"127.0.0.1", 0}).ok());
    Generate();
  }

  // As the server stops.
  ~ExpertUsagePagesTest() override {
    server_.reset();
    engine_->Stop();
    sums_.reset();
  }

  void Generate() {
    ASSERT_EQ(Submit(EngineTest::Generate({1, 2, 3, 4}, 5)).sink->WaitDone(), absl::OkStatus());
  }

  httplib::Result Get(const std::string& path, const httplib::Headers& headers = {}) {
    httplib::Result result =
        httplib::Client("127.0.0.1", server_->address().port).Get(path.c_str(), headers);
    EXPECT_TRUE(result) << path;
    return result;
  }

  ExpertUsage Usage(int layer, UsageWindow window = UsageWindow::kTotal) {
    std::optional<ExpertUsage> usage;
    absl::Notification done;
    reader_->Read(layer, window, [&](absl::StatusOr<ExpertUsage> read) {
      usage = *std::move(read);
      done.Notify();
    });
    done.WaitForNotification();
    return *std::move(usage);
  }

  MapCaption CaptionOf(const ExpertUsage& usage, const std::string& experts) {
    return {.model = "m",
            .experts = experts,
            .window = "total",
            .start = usage.start,
            .end = usage.end,
            .tokens = usage.tokens};
  }

  const std::vector<ExpertLayer> layers_ = {
      {.layer = 2,
       .num_experts = 2 * 9,
       .heads = 2,
       .top_k = 2,
       .expert_sets = 2,
       .num_sub_keys = 3},
      {.layer = 3,
       .kind = ExpertLayerKind::kMixtureAttention,
       .num_experts = 3,
       .heads = 1,
       .top_k = 3,
       .expert_names = {"law", "<base>", "maths"}},
      {.layer = 3, .kind = ExpertLayerKind::kPeer, .num_experts = 7, .heads = 1, .top_k = 3}};
  std::unique_ptr<ExpertStatistics> statistics_;
  std::optional<BackgroundLane> sums_;
  std::optional<ExpertUsageReader> reader_;
  std::optional<ExpertUsagePages> pages_;
  std::unique_ptr<AdminServer> server_ = std::make_unique<AdminServer>();
};

TEST_F(ExpertUsagePagesTest, DrawTheMap) {
  const auto response =
      Get("/experts/usage.png?layer=2&scale=linear&palette=grey&window=total&t=1");
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->get_header_value("Content-Type"), "image/png");
  const ExpertUsage usage = Usage(0);
  const Image image =
      DrawExpertMap(usage.selections, *ArrangeExperts(18, 2), CaptionOf(usage, "layer 2, peer"),
                    {.scale = MapScale::kLinear, .palette = Palette::kGrey});
  EXPECT_EQ(response->body, *image.ToPng());
}

TEST_F(ExpertUsagePagesTest, DrawAMixtureByName) {
  const auto response = Get("/experts/usage.png?layer=3&kind=mixture_attention&window=total");
  EXPECT_EQ(response->status, 200);
  const ExpertUsage usage = Usage(1);
  const auto image = DrawMixtureMap({{.kind = "mixture_attention",
                                      .layer = 3,
                                      .names = {"law", "<base>", "maths"},
                                      .scores = usage.score_sums}},
                                    CaptionOf(usage, "layer 3, mixture_attention"));
  EXPECT_EQ(response->body, *image->ToPng());
}

TEST_F(ExpertUsagePagesTest, GiveTheNumbers) {
  const ExpertUsage usage = Usage(0);
  EXPECT_EQ(Get("/experts/usage.npy")->body, ToNpy(usage.selections, usage.score_sums));

  const auto json = nlohmann::json::parse(Get("/experts/usage.json?layer=2")->body);
  EXPECT_EQ(json["kind"], "peer");
  EXPECT_EQ(json["window"], "recent");
  EXPECT_EQ(json["tokens"], 8);
  EXPECT_EQ(json["selections"], 8 * 4);
  std::vector<uint64_t> rows(3), columns(3);
  for (size_t i = 0; i < 18; ++i) {
    rows[i % 9 / 3] += usage.selections[i];
    columns[i % 3] += usage.selections[i];
  }
  EXPECT_EQ(json["rows"], rows);
  EXPECT_EQ(json["columns"], columns);
  EXPECT_EQ(json["lorenz"].size(), 101u);
  EXPECT_EQ(json["lorenz"][0], 0);
  EXPECT_EQ(json["lorenz"][100], 1);
  std::vector<uint64_t> sorted = usage.selections;
  std::sort(sorted.begin(), sorted.end());  // of 18: point 75 lies between the 13th and the 14th
  const double below = std::accumulate(sorted.begin(), sorted.begin() + 13, 0.0);
  EXPECT_NEAR(json["lorenz"][75], (below + 0.5 * static_cast<double>(sorted[13])) / 32, 1e-12);
  EXPECT_EQ(json["hottest"][0]["id"],
            MostUsedExperts(usage.selections, usage.score_sums, 1).front());
  EXPECT_FALSE(json.contains("names"));
}

TEST_F(ExpertUsagePagesTest, TellKindsOfALayerApart) {
  const auto mixture =
      nlohmann::json::parse(Get("/experts/usage.json?layer=3&kind=mixture_attention")->body);
  EXPECT_EQ(mixture["names"], (std::vector<std::string>{"law", "<base>", "maths"}));
  EXPECT_EQ(mixture["shares"].size(), 3u);
  EXPECT_FALSE(mixture.contains("rows"));
  const auto peer = nlohmann::json::parse(Get("/experts/usage.json?layer=3&kind=peer")->body);
  EXPECT_EQ(peer["num_experts"], 7);
  EXPECT_FALSE(peer.contains("rows")) << "7 is no square";
}

TEST_F(ExpertUsagePagesTest, ComeOnlyWhenTheyHaveChanged) {
  const std::string path = "/experts/usage.png?layer=2";
  const std::string tag = Get(path)->get_header_value("ETag");
  EXPECT_THAT(tag, StartsWith("\""));
  const auto same = Get(path + "&t=17", {{"If-None-Match", tag}});
  EXPECT_EQ(same->status, 304);
  EXPECT_EQ(same->body, "");
  EXPECT_NE(Get(path + "&palette=grey")->get_header_value("ETag"), tag);
  Generate();
  const auto changed = Get(path, {{"If-None-Match", tag}});
  EXPECT_EQ(changed->status, 200);
  EXPECT_NE(changed->get_header_value("ETag"), tag);
}

TEST_F(ExpertUsagePagesTest, NameWhatIsWrong) {
  const auto error = [this](const std::string& query) {
    const auto response = Get("/experts/usage.png?" + query);
    EXPECT_EQ(response->status, 400) << query;
    return response->body;
  };
  EXPECT_THAT(error("layer=0"), HasSubstr("layers 2 (peer), 3 (mixture_attention), 3 (peer)"));
  EXPECT_THAT(error("layer=x"), HasSubstr("layer: no such experts"));
  EXPECT_THAT(error("layer=2&kind=pkm"), HasSubstr("layer: no such experts"));
  EXPECT_THAT(error("kind=dense"), HasSubstr("kind: is \"dense\", not peer, pkm, mixture_ffn or"));
  EXPECT_THAT(error("window=week"), HasSubstr("window: is \"week\", not recent or total"));
  EXPECT_THAT(error("scale=cubic"), HasSubstr("not log or linear"));
  EXPECT_THAT(error("palette=jet"), HasSubstr("not inferno, viridis or grey"));
  EXPECT_THAT(error("colour=red"), HasSubstr("is no parameter"));
}

TEST_F(ExpertUsagePagesTest, ListTheLayers) {
  const auto json = nlohmann::json::parse(Get("/experts/layers.json")->body);
  EXPECT_EQ(json["model"], "m");
  EXPECT_EQ(json["expert_trace"], "summary");
  EXPECT_EQ(json["windows"], (std::vector<std::string>{"recent", "total"}));
  ASSERT_EQ(json["layers"].size(), 3u);
  EXPECT_EQ(json["layers"][0]["expert_sets"], 2);
  EXPECT_EQ(json["layers"][1]["names"][1], "<base>");
  EXPECT_FALSE(json["layers"][2].contains("names"));
}

// Drift is of the recent window from the total one, whichever is shown.
TEST_F(ExpertUsagePagesTest, TellHowFarTheRecentWindowIsFromTheTotalOne) {
  clock_.Advance(2 * ExpertStatistics::kSlice);  // what was before is in the total window alone
  ASSERT_EQ(Submit(EngineTest::Generate({9, 8}, 3)).sink->WaitDone(), absl::OkStatus());
  clock_.Advance(2 * ExpertStatistics::kSlice);
  Generate();
  const double drift = ExpertDrift(Usage(0, UsageWindow::kRecent).selections, Usage(0).selections);
  EXPECT_GT(drift, 0);
  for (const char* window : {"recent", "total"}) {
    const auto json =
        nlohmann::json::parse(Get(std::string("/experts/usage.json?window=") + window)->body);
    EXPECT_EQ(json["drift_nats"], drift) << window;
  }
}

// What a page needs to see how shares change: sums that never fall.
TEST_F(ExpertUsagePagesTest, TellTheScoresOfAMixtureSinceTheStart) {
  const std::string path = "/experts/usage.json?layer=3&kind=mixture_attention";
  const auto before = nlohmann::json::parse(Get(path)->body)["scores_since_start"];
  EXPECT_EQ(before, Usage(1).score_sums);
  absl::Notification reset;
  reader_->Reset([&](absl::Status) { reset.Notify(); });
  reset.WaitForNotification();
  Generate();
  const auto after = nlohmann::json::parse(Get(path)->body)["scores_since_start"];
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_DOUBLE_EQ(after[i], before[i].get<double>() + Usage(1).score_sums[i]);
  }
}

// Nothing but this server's files, and no script or style in the pages themselves.
TEST(StaticFilesTest, ShowThePages) {
  AdminServer server;
  AddStaticFiles(server);
  ASSERT_TRUE(server.Listen({"127.0.0.1", 0}).ok());
  const auto get = [&](const std::string& path) {
    auto result = httplib::Client("127.0.0.1", server.address().port).Get(path.c_str());
    EXPECT_EQ(result->status, 200) << path;
    EXPECT_THAT(result->body, Not(ContainsRegex("https?://[^w]"))) << "but the namespace of SVG";
    const std::string policy = result->get_header_value("Content-Security-Policy");
    EXPECT_THAT(policy, StartsWith("default-src 'none'; script-src 'self';"));
    EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
    return result;
  };
  for (const char* path : {"/experts", "/playground"}) {
    const auto page = get(path);
    EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
    EXPECT_THAT(page->body, Not(ContainsRegex(" on[a-z]+=")));
    EXPECT_THAT(page->body, Not(HasSubstr("style=")));
    EXPECT_THAT(page->body, Not(HasSubstr("<style")));
    EXPECT_THAT(page->body, Not(ContainsRegex("<script[^>]*>[^<]")));
  }
  for (const auto& [path, type] :
       {std::pair("/pages/experts.js", "text/javascript; charset=utf-8"),
        std::pair("/pages/playground.js", "text/javascript; charset=utf-8"),
        std::pair("/pages/page.css", "text/css; charset=utf-8"),
        std::pair("/pages/icon.svg", "image/svg+xml")}) {
    const auto file = get(path);
    EXPECT_EQ(file->get_header_value("Content-Type"), type);
    EXPECT_GT(file->body.size(), 100u);
  }
}

TEST_F(ExpertUsagePagesTest, DoNotWaitForAStepThatHangs) {
  ExpertUsagePages impatient(&*reader_, &layers_, {.longest_wait = absl::ZeroDuration()});
  AdminServer other;
  impatient.AddTo(other);
  ASSERT_TRUE(other.Listen({"127.0.0.1", 0}).ok());
  const Call held = SubmitAndHold(EngineTest::Generate({1, 2}, 3));
  const auto response =
      httplib::Client("127.0.0.1", other.address().port).Get("/experts/usage.json");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 503);
  EXPECT_THAT(response->body, HasSubstr("busy with a long step"));
  model_->OpenGate();
  EXPECT_EQ(held.sink->WaitDone(), absl::OkStatus());
  EXPECT_EQ(Get("/experts/usage.json")->status, 200);
}

TEST_F(ExpertUsagePagesTest, TellThatTheEngineStops) {
  engine_->Stop();
  EXPECT_EQ(Get("/experts/usage.json")->status, 503);
}

}  // namespace
}  // namespace peerage
