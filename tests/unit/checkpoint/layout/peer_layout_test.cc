// Models whose PEER tensors have other projects' names and orders, in small files in memory: what
// is read must be the canonical tensors. Each stored tensor is written by its index formula.

#include "model/checkpoint/layout/peer_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/safetensors.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/checkpoint/layout/tensor_reading.h"
#include "tests/support/memory_file.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// No two axes of one length, or a swap of them would go unseen.
constexpr int kHidden = 32, kN = 4, kHeads = 3, kHalf = 5, kKeyDim = 2 * kHalf, kRows = kN * kN;
constexpr char kPrefix[] = "model.layers.0.ffn.peer.";

constexpr char kEntry[] = R"({"kind": "peer", "num_experts": 16, "heads": 3, "top_k": 2,
                              "key_dim": 10, "keys": "per_head"})";
constexpr char kDirectEntry[] = R"({"kind": "peer", "num_experts": 16, "heads": 1, "top_k": 2,
                                    "keys": "direct"})";

using Formula = std::function<float(int)>;  // of an element's index

// Names each element of a tensor by its coordinates, so that a misplaced one is seen.
float Code(int head, int half, int i, int j) { return head * 1000 + half * 500 + i * 40 + j; }

// A file of the small model with one PEER entry in place of its dense part.
class PeerFile {
 public:
  PeerFile() {
    for (const NamedShape& tensor : SmallPeerageTensors()) {
      if (tensor.name.find(".ffn.dense.") != std::string::npos) continue;
      builder_.Add(tensor.name, "F32", tensor.shape, std::string(4 * Elements(tensor.shape), '\0'));
    }
  }

  PeerFile& Add(const std::string& name, const std::vector<int64_t>& shape, const Formula& formula,
                TensorType type = TensorType::kF32) {
    std::vector<float> values(Elements(shape));
    for (size_t i = 0; i < values.size(); ++i) values[i] = formula(static_cast<int>(i));
    std::string bytes(RowBytes(type, values.size()), '\0');
    StoreFloats(type, values,
                absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
    builder_.Add(kPrefix + name, type == TensorType::kF32 ? "F32" : "F16", shape, bytes);
    return *this;
  }

  PeerFile& AddCounter(const std::string& name) {
    builder_.Add(kPrefix + name, "I64", {}, std::string(8, '\0'));
    return *this;
  }

  std::string Build() const { return builder_.Build(); }

 private:
  SafetensorsBuilder builder_;
};

class BoundPeer {
 public:
  // `patch`: the fields of the entry beside those of `base`.
  BoundPeer(const char* base, const char* patch, const PeerFile& file) {
    json entry = json::parse(base);
    entry.merge_patch(json::parse(patch));
    json text = json::parse(kSmallPeerageConfig);
    text["ffn"] = json::array({entry});
    const auto config = ParseModelConfig(text.dump());
    EXPECT_TRUE(config.ok()) << config.status();
    files_.push_back(std::make_unique<MemoryFile>(file.Build()));
    auto contents = ReadSafetensors(*files_[0]);
    EXPECT_TRUE(contents.ok()) << contents.status();
    auto binding = BindTensors(*config, TensorNaming::kPeerage, std::move(contents->tensors));
    status_ = binding.status();
    if (binding.ok()) binding_ = *std::move(binding);
  }

  const absl::Status& status() const { return status_; }
  const std::vector<std::string>& ignored() const { return binding_.ignored; }

  const BoundTensor& Find(const std::string& name) const {
    for (const BoundTensor& tensor : binding_.tensors) {
      if (tensor.info.name == kPrefix + name) return tensor;
    }
    ADD_FAILURE() << "no " << name << "; " << status_;
    static const BoundTensor* const none = new BoundTensor;
    return *none;
  }

  std::vector<float> Values(const std::string& name) const {
    const BoundTensor& tensor = Find(name);
    std::vector<uint8_t> bytes(tensor.info.bytes);
    const absl::Status read = ReadTensor(files_, tensor, absl::MakeSpan(bytes));
    EXPECT_TRUE(read.ok()) << read;
    return FloatsOf(tensor.info.type, bytes);
  }

  absl::Status Read(const std::string& name) const {
    const BoundTensor& tensor = Find(name);
    std::vector<uint8_t> bytes(tensor.info.bytes);
    return ReadTensor(files_, tensor, absl::MakeSpan(bytes));
  }

  absl::StatusOr<std::vector<float>> Rows(const std::string& name, int64_t first,
                                          int64_t count) const {
    const BoundTensor& tensor = Find(name);
    std::vector<uint8_t> bytes(tensor.info.bytes / tensor.info.shape[0] * count);
    const absl::Status read = ReadTensorRows(files_, tensor, first, absl::MakeSpan(bytes));
    if (!read.ok()) return read;
    return FloatsOf(tensor.info.type, bytes);
  }

 private:
  WeightFiles files_;
  TensorBinding binding_;
  absl::Status status_;
};

Formula Ramp(float first) {
  return [first](int i) { return first + static_cast<float>(i); };
}

void ExpectValues(const BoundPeer& peer, const std::string& name, const std::vector<int64_t>& shape,
                  const Formula& formula) {
  EXPECT_EQ(peer.Find(name).info.shape, shape) << name;
  const std::vector<float> values = peer.Values(name);
  ASSERT_EQ(values.size(), Elements(shape)) << name;
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_FLOAT_EQ(values[i], formula(static_cast<int>(i))) << name << ", element " << i;
  }
}

// Canonical: query rows (head, half, component); sub-keys [heads, 2, n, key_dim / 2].
float QueryElement(int i) {
  const int row = i / kHidden, column = i % kHidden;
  return Code(row / kKeyDim, row / kHalf % 2, row % kHalf, column);
}

float SubKeyElement(int i) {
  return Code(i / (2 * kN * kHalf), i / (kN * kHalf) % 2, i / kHalf % kN, i % kHalf);
}

PeerFile LucidrainsFile() {
  PeerFile file;
  file.Add("norm.gamma", {kHidden}, Ramp(-3))
      .Add("to_queries.0.weight", {2 * kHeads * kHalf, kHidden},
           [](int i) {  // rows (half, head, component)
             const int row = i / kHidden, column = i % kHidden;
             return Code(row / kHalf % kHeads, row / (kHeads * kHalf), row % kHalf, column);
           })
      .Add("keys", {kHeads, kN, 2, kHalf},
           [](int i) {
             return Code(i / (kN * 2 * kHalf), i / kHalf % 2, i / (2 * kHalf) % kN, i % kHalf);
           })
      .Add("weight_down_embed.weight", {kRows, kHidden}, Ramp(1))
      .Add("weight_up_embed.weight", {kRows, kHidden}, Ramp(1000));
  return file;
}

constexpr char kLucidrains[] = R"({"layout": "lucidrains", "pre_rmsnorm": true})";

TEST(PeerLayoutTest, ReadsLucidrains) {
  const BoundPeer peer(kEntry, kLucidrains, LucidrainsFile());

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "norm.weight", {kHidden}, Ramp(-2));
  ExpectValues(peer, "query.weight", {kHeads * kKeyDim, kHidden}, QueryElement);
  ExpectValues(peer, "sub_keys", {kHeads, 2, kN, kHalf}, SubKeyElement);
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
}

TEST(PeerLayoutTest, ReadsLucidrainsWithExpertsForEachHead) {
  PeerFile file;
  file.Add("to_queries.0.weight", {kHeads * kKeyDim, kHidden}, Ramp(0))
      .Add("keys", {kHeads, kN, 2, kHalf}, Ramp(0))
      .Add("weight_down_embed.weight", {kHeads * kRows, kHidden}, Ramp(1))
      .Add("weight_up_embed.weight", {kHeads * kRows, kHidden}, Ramp(2));
  const BoundPeer peer(kEntry, R"({"layout": "lucidrains", "experts": "per_head"})", file);

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "down.weight", {kHeads * kRows, kHidden}, Ramp(1));
}

TEST(PeerLayoutTest, KeepsTheDtypeWhereBytesOnlyMove) {
  PeerFile file;
  file.Add("norm.gamma", {kHidden}, Ramp(0), TensorType::kF16)
      .Add("to_queries.0.weight", {kHeads * kKeyDim, kHidden}, Ramp(0), TensorType::kF16)
      .Add("keys", {kHeads, kN, 2, kHalf}, Ramp(0), TensorType::kF16)
      .Add("weight_down_embed.weight", {kRows, kHidden}, Ramp(0), TensorType::kF16)
      .Add("weight_up_embed.weight", {kRows, kHidden}, Ramp(0), TensorType::kF16);
  const BoundPeer peer(kEntry, kLucidrains, file);

  for (const char* name : {"query.weight", "sub_keys", "down.weight", "up.weight"}) {
    EXPECT_EQ(peer.Find(name).info.type, TensorType::kF16) << name;
  }
  EXPECT_EQ(peer.Find("norm.weight").info.type, TensorType::kF32);
  EXPECT_EQ(peer.Find("norm.weight").info.bytes, 4u * kHidden);
  ExpectValues(peer, "norm.weight", {kHidden}, Ramp(1));
}

TEST(PeerLayoutTest, ReadsMetaMemory) {
  PeerFile file;
  file.Add("query_proj.query_mlps.0.weight", {kHeads * kKeyDim, kHidden}, QueryElement)
      .Add("query_proj.query_mlps.0.bias", {kHeads * kKeyDim}, Ramp(7))
      .Add("keys", {2 * kHeads * kN, kHalf}, SubKeyElement)
      .Add("values_u.weight", {kRows, kHidden}, Ramp(1))
      .Add("values_v.weight", {kRows, kHidden}, Ramp(1000))
      .Add("value_proj.weight", {kHidden, 8}, Ramp(0))
      .Add("value_proj.bias", {kHidden}, Ramp(0))
      .Add("swilu_projection.weight", {8, kHidden}, Ramp(0));
  const BoundPeer peer(kEntry, R"({"layout": "meta_memory", "query_bias": true})", file);

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "query.weight", {kHeads * kKeyDim, kHidden}, QueryElement);
  ExpectValues(peer, "query.bias", {kHeads * kKeyDim}, Ramp(7));
  ExpectValues(peer, "sub_keys", {kHeads, 2, kN, kHalf}, SubKeyElement);
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
  EXPECT_THAT(peer.ignored(),
              ElementsAre(HasSubstr("peer.swilu_projection.weight"),
                          HasSubstr("peer.value_proj.bias"), HasSubstr("peer.value_proj.weight")));
}

PeerFile Ostix360File() {
  PeerFile file;
  file.Add("query_proj.0.weight", {kHeads * kKeyDim, kHidden}, QueryElement)
      .Add("query_proj.0.bias", {kHeads * kKeyDim}, Ramp(1))
      .Add("query_proj.1.weight", {kHeads * kKeyDim}, Ramp(2))
      .Add("query_proj.1.bias", {kHeads * kKeyDim}, Ramp(3))
      .Add("query_proj.1.running_mean", {kHeads * kKeyDim}, Ramp(4))
      .Add("query_proj.1.running_var", {kHeads * kKeyDim}, Ramp(5))
      .AddCounter("query_proj.1.num_batches_tracked")
      .Add("keys", {kHeads, 2, kN, kHalf}, SubKeyElement)
      .Add("w_down_embed.weight", {kRows, kHidden}, Ramp(1))
      .Add("w_up_embed.weight", {kRows, kHidden}, Ramp(1000));
  return file;
}

constexpr char kOstix360[] =
    R"({"layout": "ostix360", "query_bias": true, "query_norm": "batch", "glu": true})";

TEST(PeerLayoutTest, ReadsOstix360) {
  PeerFile file = Ostix360File();
  file.Add("w_gate_embed.weight", {kRows, kHidden}, Ramp(2000));
  const BoundPeer peer(kEntry, kOstix360, file);

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "query.weight", {kHeads * kKeyDim, kHidden}, QueryElement);
  ExpectValues(peer, "query.bias", {kHeads * kKeyDim}, Ramp(1));
  ExpectValues(peer, "query_norm.weight", {kHeads * kKeyDim}, Ramp(2));
  ExpectValues(peer, "query_norm.bias", {kHeads * kKeyDim}, Ramp(3));
  ExpectValues(peer, "query_norm.running_mean", {kHeads * kKeyDim}, Ramp(4));
  ExpectValues(peer, "query_norm.running_var", {kHeads * kKeyDim}, Ramp(5));
  ExpectValues(peer, "sub_keys", {kHeads, 2, kN, kHalf}, SubKeyElement);
  // The original activates the product with w_down_embed.
  ExpectValues(peer, "gate.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(2000));
}

TEST(PeerLayoutTest, ReadsOstix360WithoutAGate) {
  PeerFile file = Ostix360File();
  const BoundPeer peer(kEntry, R"({"layout": "ostix360", "query_bias": true,
                                   "query_norm": "batch"})",
                       file);

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
}

TEST(PeerLayoutTest, RefusesAGateThatTheConfigDoesNotUse) {
  PeerFile file = Ostix360File();
  file.Add("w_gate_embed.weight", {kRows, kHidden}, Ramp(2000));
  const BoundPeer peer(kEntry, R"({"layout": "ostix360", "query_bias": true,
                                   "query_norm": "batch"})",
                       file);

  EXPECT_THAT(std::string(peer.status().message()),
              HasSubstr("ffn.peer.w_gate_embed.weight\": the model has no such tensor"));
}

TEST(PeerLayoutTest, ReadsDoge) {
  PeerFile file;
  file.Add("router_gate.weight", {2 * kN, kHidden}, Ramp(0))
      .Add("down_embed.weight", {kRows, kHidden}, Ramp(1))
      .Add("up_embed.weight", {kRows, kHidden}, Ramp(1000));
  const BoundPeer peer(kDirectEntry, R"({"layout": "doge"})", file);

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  ExpectValues(peer, "router.weight", {1, 2, kN, kHidden}, Ramp(0));
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
}

constexpr char kOmniMoe[] = R"({"layout": "omnimoe", "query_bias": true, "query_norm_eps": 0.25})";

PeerFile OmniMoeFile(const Formula& variance_of_y = Ramp(7)) {
  PeerFile file;
  file.Add("router_gate_x.weight", {kN, kHidden}, Ramp(1))
      .Add("router_gate_y.weight", {kN, kHidden}, Ramp(500), TensorType::kF16)
      .Add("router_norm_x.running_mean", {kN}, Ramp(-1))
      .Add("router_norm_x.running_var", {kN}, Ramp(2))
      .Add("router_norm_y.running_mean", {kN}, Ramp(10))
      .Add("router_norm_y.running_var", {kN}, variance_of_y)
      .AddCounter("router_norm_x.num_batches_tracked")
      .AddCounter("router_norm_y.num_batches_tracked")
      .Add("up_embed.weight", {kRows, kHidden}, Ramp(1))
      .Add("down_embed.weight", {kRows, kHidden}, Ramp(1000));
  return file;
}

TEST(PeerLayoutTest, FoldsTheBatchNormOfOmniMoeAndTurnsItsVectorsRound) {
  const BoundPeer peer(kDirectEntry, kOmniMoe, OmniMoeFile());

  ASSERT_TRUE(peer.status().ok()) << peer.status();
  EXPECT_EQ(peer.Find("router.weight").info.type, TensorType::kF32);
  ExpectValues(peer, "router.weight", {1, 2, kN, kHidden}, [](int i) {
    const int half = i / (kN * kHidden), row = i / kHidden % kN, within = i % (kN * kHidden);
    const float variance = static_cast<float>(row) + (half == 0 ? 2 : 7);
    return (static_cast<float>(within) + (half == 0 ? 1 : 500)) / std::sqrt(variance + 0.25f);
  });
  ExpectValues(peer, "router.bias", {1, 2, kN}, [](int i) {
    const float row = static_cast<float>(i % kN);
    return i < kN ? -(row - 1) / std::sqrt(row + 2.25f) : -(row + 10) / std::sqrt(row + 7.25f);
  });
  ExpectValues(peer, "down.weight", {kRows, kHidden}, Ramp(1));
  ExpectValues(peer, "up.weight", {kRows, kHidden}, Ramp(1000));
  EXPECT_EQ(peer.ignored().size(), 2u);
}

TEST(PeerLayoutTest, ReadsRowsOfEveryTensor) {
  const BoundPeer peer(kEntry, kLucidrains, LucidrainsFile());

  for (const char* name : {"norm.weight", "query.weight", "sub_keys", "down.weight"}) {
    const std::vector<float> whole = peer.Values(name);
    const int64_t rows = peer.Find(name).info.shape[0];
    const int64_t width = static_cast<int64_t>(whole.size()) / rows;
    for (int64_t first = 0; first <= rows; ++first) {
      for (int64_t count = 0; first + count <= rows; ++count) {
        const auto some = peer.Rows(name, first, count);
        ASSERT_TRUE(some.ok()) << some.status();
        EXPECT_EQ(*some, std::vector<float>(whole.begin() + first * width,
                                            whole.begin() + (first + count) * width))
            << name << ", rows " << first << " to " << first + count;
      }
    }
    EXPECT_EQ(peer.Rows(name, rows, 1).status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(peer.Rows(name, -1, 1).status().code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(PeerLayoutTest, NamesTheStoredTensorOfAWrongShape) {
  PeerFile file;
  file.Add("router_gate.weight", {2, kN, kHidden}, Ramp(0))
      .Add("down_embed.weight", {kRows, kHidden}, Ramp(1))
      .Add("up_embed.weight", {kRows, kHidden}, Ramp(1000));

  EXPECT_EQ(std::string(BoundPeer(kDirectEntry, R"({"layout": "doge"})", file).status().message()),
            "tensor \"model.layers.0.ffn.peer.router_gate.weight\": shape [2, 4, 32], but the "
            "config asks for [8, 32]");
}

TEST(PeerLayoutTest, IgnoresNamesOfItsOwnLayoutOnly) {
  PeerFile file = LucidrainsFile();
  file.Add("value_proj.weight", {1}, Ramp(0));

  EXPECT_THAT(std::string(BoundPeer(kEntry, kLucidrains, file).status().message()),
              HasSubstr("ffn.peer.value_proj.weight\": the model has no such tensor"));
}

TEST(PeerLayoutTest, RefusesANanInARouterByItsStoredName) {
  for (const char* bad : {"to_queries.0.weight", "keys"}) {
    for (const float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const Formula formula = [&](int i) { return i == 27 ? value : 0; };
      PeerFile file;
      const auto formula_of = [&](const std::string& name) {
        return name == bad ? formula : Ramp(0);
      };
      file.Add("to_queries.0.weight", {kHeads * kKeyDim, kHidden},
               formula_of("to_queries.0.weight"))
          .Add("keys", {kHeads, kN, 2, kHalf}, formula_of("keys"))
          .Add("weight_down_embed.weight", {kRows, kHidden}, formula)
          .Add("weight_up_embed.weight", {kRows, kHidden}, Ramp(2));
      const BoundPeer peer(kEntry, R"({"layout": "lucidrains"})", file);

      const std::string canonical = bad == std::string("keys") ? "sub_keys" : "query.weight";
      EXPECT_EQ(std::string(peer.Read(canonical).message()),
                std::string("tensor \"") + kPrefix + bad +
                    "\": a router's tensor holds a NaN or an infinity");
      EXPECT_FALSE(peer.Rows(canonical, 0, peer.Find(canonical).info.shape[0]).ok());
      EXPECT_TRUE(peer.Read("down.weight").ok());
    }
  }
}

TEST(PeerLayoutTest, RefusesAVarianceBelowZero) {
  const BoundPeer folded(kDirectEntry, kOmniMoe, OmniMoeFile(Ramp(-1)));
  for (const char* name : {"router.weight", "router.bias"}) {
    EXPECT_EQ(std::string(folded.Read(name).message()),
              "tensor \"model.layers.0.ffn.peer.router_norm_y.running_var\": a variance is below "
              "zero");
  }

  PeerFile file;
  file.Add("query.weight", {kHeads * kKeyDim, kHidden}, Ramp(0))
      .Add("query_norm.weight", {kHeads * kKeyDim}, Ramp(0))
      .Add("query_norm.bias", {kHeads * kKeyDim}, Ramp(0))
      .Add("query_norm.running_mean", {kHeads * kKeyDim}, Ramp(-5))
      .Add("query_norm.running_var", {kHeads * kKeyDim}, Ramp(-5))
      .Add("sub_keys", {kHeads, 2, kN, kHalf}, Ramp(0))
      .Add("down.weight", {kRows, kHidden}, Ramp(1))
      .Add("up.weight", {kRows, kHidden}, Ramp(1));
  const BoundPeer plain(kEntry, R"({"query_norm": "batch"})", file);
  EXPECT_TRUE(plain.Read("query_norm.running_mean").ok());
  EXPECT_THAT(std::string(plain.Read("query_norm.running_var").message()),
              HasSubstr("query_norm.running_var\": a variance is below zero"));
}

TEST(ProductKeyTensorsTest, FollowTheConfig) {
  const auto layout = [](const char* base, const char* patch) {
    json entry = json::parse(base);
    entry.merge_patch(json::parse(patch));
    json text = json::parse(kSmallPeerageConfig);
    text["ffn"] = json::array({entry});
    std::string lines;
    for (const TensorSpec& spec :
         TensorLayout(*ParseModelConfig(text.dump()), TensorNaming::kPeerage)) {
      const size_t at = spec.name.find(".ffn.");
      if (at == std::string::npos) continue;
      EXPECT_EQ(spec.parts[0].name, spec.name);
      EXPECT_EQ(spec.parts[0].shape, spec.shape);
      lines += spec.name.substr(at + 5) + json(spec.shape).dump() + "\n";
    }
    return lines;
  };
  EXPECT_EQ(layout(kEntry, R"({"keys": "shared"})"),
            "peer.query.weight[30,32]\npeer.sub_keys[2,4,5]\npeer.down.weight[16,32]\n"
            "peer.up.weight[16,32]\n");
  EXPECT_EQ(layout(kEntry, R"({"query_bias": true, "query_norm": "batch", "glu": true,
                               "pre_rmsnorm": true, "experts": "per_head"})"),
            "peer.norm.weight[32]\npeer.query.weight[30,32]\npeer.query.bias[30]\n"
            "peer.query_norm.weight[30]\npeer.query_norm.bias[30]\n"
            "peer.query_norm.running_mean[30]\npeer.query_norm.running_var[30]\n"
            "peer.sub_keys[3,2,4,5]\npeer.down.weight[48,32]\npeer.up.weight[48,32]\n"
            "peer.gate.weight[48,32]\n");
  EXPECT_EQ(layout(kEntry, R"({"kind": "pkm", "query_norm": "layer"})"),
            "pkm.query.weight[30,32]\npkm.query_norm.weight[10]\npkm.query_norm.bias[10]\n"
            "pkm.sub_keys[3,2,4,5]\npkm.values.weight[16,32]\n");
  EXPECT_EQ(layout(kDirectEntry, R"({"kind": "pkm", "heads": 2})"),
            "pkm.router.weight[2,2,4,32]\npkm.values.weight[16,32]\n");
  EXPECT_EQ(layout(kDirectEntry, R"({"query_bias": true})"),
            "peer.router.weight[1,2,4,32]\npeer.router.bias[1,2,4]\npeer.down.weight[16,32]\n"
            "peer.up.weight[16,32]\n");
}

}  // namespace
}  // namespace peerage
