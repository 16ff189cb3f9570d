#include "model/checkpoint/container/pytorch.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/file_format.h"
#include "model/checkpoint/container/pickle.h"
#include "model/checkpoint/container/pytorch_globals.h"
#include "model/checkpoint/container/pytorch_tensor.h"
#include "model/checkpoint/container/strided_file.h"
#include "model/checkpoint/container/zip_directory.h"

namespace peerage {
namespace {

constexpr absl::string_view kPickleName = "/data.pkl";
constexpr uint64_t kMaxPickleBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxSmallBytes = 64;
constexpr size_t kMaxTensors = 65'536;
constexpr size_t kMaxKeyBytes = 512;
constexpr size_t kMaxDictDepth = 16;
constexpr size_t kMaxDicts = 65'536;
constexpr size_t kMostDictsNamed = 8;  // dicts in an error

// The files of an archive of torch.save, which all lie in one folder.
class TorchArchive {
 public:
  static absl::StatusOr<TorchArchive> Open(const RandomAccessFile& file) {
    TorchArchive archive(file);
    ASSIGN_OR_RETURN(std::vector<ZipEntry> entries, ReadZipDirectory(file));
    for (const ZipEntry& entry : entries) {
      if (!absl::EndsWith(entry.name, kPickleName)) continue;
      archive.folder_ = entry.name.substr(0, entry.name.size() - kPickleName.size());
      if (!absl::StrContains(archive.folder_, '/')) break;
    }
    for (ZipEntry& entry : entries) archive.entries_.emplace(entry.name, std::move(entry));
    if (archive.Find("data.pkl") == nullptr) {
      return absl::InvalidArgumentError(
          "a zip archive, but not one of torch.save: it has no data.pkl");
    }
    if (archive.Find("constants.pkl") != nullptr) {
      return absl::InvalidArgumentError(
          "a TorchScript program, not the tensors of a state dict; torch.save(torch.jit.load("
          "FILE).state_dict(), OTHER) writes these");
    }
    return archive;
  }

  const ZipEntry* Find(absl::string_view name) const {
    const auto found = entries_.find(absl::StrCat(folder_, "/", name));
    return found == entries_.end() ? nullptr : &found->second;
  }

  absl::StatusOr<std::vector<uint8_t>> Bytes(const ZipEntry& entry, uint64_t most) const {
    if (entry.bytes > most) {
      return absl::InvalidArgumentError(absl::StrCat("zip entry ", Quoted(entry.name), " has ",
                                                     entry.bytes, " bytes; at most ", most,
                                                     " are read"));
    }
    ASSIGN_OR_RETURN(const uint64_t begin, FindZipBytes(file_, entry));
    std::vector<uint8_t> bytes(entry.bytes);
    RETURN_IF_ERROR(file_.Read(begin, absl::MakeSpan(bytes)));
    return bytes;
  }

  // Whether numbers have their most significant byte first. Without a word they have not.
  absl::StatusOr<bool> IsBigEndian() const {
    const ZipEntry* entry = Find("byteorder");
    if (entry == nullptr) return false;
    ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, Bytes(*entry, kMaxSmallBytes));
    const absl::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order == "little" || order == "big") return order == "big";
    return absl::InvalidArgumentError(absl::StrCat("byte order ", Quoted(order)));
  }

  // Where a storage of that many bytes begins.
  absl::StatusOr<uint64_t> FindStorage(absl::string_view key, uint64_t bytes) const {
    const ZipEntry* entry = Find(absl::StrCat("data/", key));
    if (entry == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("its storage ", Quoted(key), " is missing"));
    }
    if (entry->bytes != bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("its storage ", Quoted(key), " has ", entry->bytes, " bytes, not ", bytes));
    }
    return FindZipBytes(file_, *entry);
  }

 private:
  explicit TorchArchive(const RandomAccessFile& file) : file_(file) {}

  const RandomAccessFile& file_;
  std::string folder_;
  absl::flat_hash_map<std::string, ZipEntry> entries_;
};

// A dict of the pickle that has tensors right inside.
struct FoundDict {
  TensorDict facts;
  uint32_t value = 0;
};

std::string KeyText(const PickleValue& key) {
  if (key.kind == PickleKind::kString) return std::string(key.text.substr(0, kMaxKeyBytes));
  return key.kind == PickleKind::kInteger ? absl::StrCat(key.integer) : "?";
}

class DictSearch {
 public:
  explicit DictSearch(const PickleContents& pickle) : pickle_(pickle) {}

  absl::StatusOr<std::vector<FoundDict>> Find() {
    RETURN_IF_ERROR(Visit(pickle_.root, "", 0));
    return std::move(found_);
  }

  static bool IsDict(const PickleContents& pickle, uint32_t value) {
    const PickleValue& dict = pickle.values[value];
    if (dict.kind == PickleKind::kDict) return true;
    return dict.kind == PickleKind::kCall && MakesDict(pickle.values[dict.callee].text);
  }

 private:
  absl::Status Visit(uint32_t value, const std::string& key, size_t depth) {
    if (!IsDict(pickle_, value) || depth > kMaxDictDepth || key.size() > kMaxKeyBytes ||
        !seen_.insert(value).second) {
      return absl::OkStatus();
    }
    const std::vector<uint32_t>& items = pickle_.values[value].items;
    FoundDict dict{.facts = {.key = key}, .value = value};
    const size_t place = found_.size();
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const std::string name = KeyText(pickle_.values[items[i]]);
      if (IsTensor(pickle_, items[i + 1])) {
        ++dict.facts.tensors;
        const absl::StatusOr<PickledTensor> tensor = ReadPickledTensor(pickle_, items[i + 1]);
        if (!tensor.ok()) return At(absl::StrCat("tensor ", Quoted(name)), tensor.status());
        dict.facts.bytes += tensor->bytes;
      }
      RETURN_IF_ERROR(
          Visit(items[i + 1], key.empty() ? name : absl::StrCat(key, ".", name), depth + 1));
    }
    if (found_.size() == kMaxDicts) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxDicts, " dicts of tensors"));
    }
    if (dict.facts.tensors > 0) found_.insert(found_.begin() + place, std::move(dict));
    return absl::OkStatus();
  }

  const PickleContents& pickle_;
  absl::flat_hash_set<uint32_t> seen_;  // circles end
  std::vector<FoundDict> found_;        // in the order of the pickle, outer ones first
};

std::string KeysText(const std::vector<FoundDict>& dicts) {
  std::vector<std::string> keys;
  for (const FoundDict& dict : dicts) {
    if (keys.size() == kMostDictsNamed) {
      keys.push_back("...");
      break;
    }
    keys.push_back(Quoted(dict.facts.key));
  }
  return absl::StrJoin(keys, ", ");
}

absl::Status NoTensors(const PickleContents& pickle) {
  const PickleValue& root = pickle.values[pickle.root];
  if (root.kind == PickleKind::kCall && root.makes_object) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds an object of class ", Quoted(pickle.values[root.callee].text),
                     ", not a dict of tensors; torch.save(model.state_dict(), FILE) writes one"));
  }
  return absl::InvalidArgumentError("holds no dict of tensors");
}

// Puts the chosen one first.
absl::Status Choose(const PickleContents& pickle, const std::string& key,
                    std::vector<FoundDict>& dicts) {
  if (dicts.empty()) return NoTensors(pickle);
  auto chosen = std::max_element(
      dicts.begin(), dicts.end(),
      [](const FoundDict& a, const FoundDict& b) { return a.facts.bytes < b.facts.bytes; });
  if (!key.empty()) {
    chosen = std::find_if(dicts.begin(), dicts.end(),
                          [&](const FoundDict& dict) { return dict.facts.key == key; });
  }
  if (chosen == dicts.end()) {
    return absl::NotFoundError(absl::StrCat("no dict of tensors under the key ", Quoted(key),
                                            "; there are ", KeysText(dicts)));
  }
  std::rotate(dicts.begin(), chosen, chosen + 1);
  return absl::OkStatus();
}

// Gives the tensors of a dict their places in the file, or views of it.
class TensorPlacing {
 public:
  TensorPlacing(const RandomAccessFile& file, const PickleContents& pickle,
                const TorchArchive& archive, bool big_endian, PytorchContents& contents)
      : file_(file),
        pickle_(pickle),
        archive_(archive),
        big_endian_(big_endian),
        contents_(contents) {}

  absl::Status PlaceAll(const std::vector<uint32_t>& items) {
    absl::flat_hash_set<std::string> names;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_.values[items[i]];
      const bool named = key.kind == PickleKind::kString;
      if (!named || !IsTensor(pickle_, items[i + 1])) {
        contents_.choice.skipped.push_back(KeyText(key));
        continue;
      }
      if (key.text.size() > kMaxKeyBytes) return absl::InvalidArgumentError("a name too long");
      const std::string name(key.text);
      const std::string place = absl::StrCat("tensor ", Quoted(name));
      if (!names.insert(name).second)
        return At(place, absl::InvalidArgumentError("is there twice"));
      RETURN_IF_ERROR(At(place, Place(name, items[i + 1])));
    }
    return absl::OkStatus();
  }

 private:
  using View = std::tuple<uint64_t, std::vector<int64_t>, std::vector<int64_t>, int>;

  absl::Status Place(const std::string& name, uint32_t value) {
    if (contents_.tensors.size() == kMaxTensors) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxTensors, " tensors"));
    }
    ASSIGN_OR_RETURN(PickledTensor tensor, ReadPickledTensor(pickle_, value));
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.storage_elements),
                               static_cast<uint64_t>(tensor.dtype->bytes), &bytes)) {
      return absl::InvalidArgumentError("its storage's size overflows");
    }
    ASSIGN_OR_RETURN(const uint64_t storage, archive_.FindStorage(tensor.storage, bytes));
    StoredTensor stored{.name = name,
                        .dtype = std::string(tensor.dtype->name),
                        .type = tensor.dtype->type,
                        .shape = tensor.shape,
                        .bytes = tensor.bytes};
    const bool swapped = big_endian_ && tensor.dtype->bytes > 1;
    if (tensor.bytes == 0 || (tensor.IsRowMajor() && !swapped)) {
      if (tensor.bytes != 0) stored.offset = storage + tensor.offset * tensor.dtype->bytes;
    } else {
      stored.file = ViewOf(std::move(tensor), storage, swapped);
    }
    contents_.tensors.push_back(std::move(stored));
    return absl::OkStatus();
  }

  // Tensors of the same elements share their view.
  int ViewOf(PickledTensor tensor, uint64_t storage, bool swapped) {
    const int width = tensor.dtype->bytes;
    const uint64_t offset = storage + tensor.offset * width;
    const int next = static_cast<int>(contents_.views.size()) + 1;
    const auto [view, is_new] =
        views_.emplace(View(offset, tensor.shape, tensor.strides, width), next);
    if (is_new) {
      contents_.views.push_back(
          std::make_unique<StridedFile>(file_, StridedLayout{.shape = std::move(tensor.shape),
                                                             .strides = std::move(tensor.strides),
                                                             .offset = offset,
                                                             .element_bytes = width,
                                                             .swap_bytes = swapped}));
    }
    return view->second;
  }

  const RandomAccessFile& file_;
  const PickleContents& pickle_;
  const TorchArchive& archive_;
  const bool big_endian_;
  PytorchContents& contents_;
  std::map<View, int> views_;
};

absl::StatusOr<PytorchContents> ReadContents(const RandomAccessFile& file, const std::string& key) {
  RETURN_IF_ERROR(CheckPytorchFormat(file));
  ASSIGN_OR_RETURN(const TorchArchive archive, TorchArchive::Open(file));
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes,
                   archive.Bytes(*archive.Find("data.pkl"), kMaxPickleBytes));
  ASSIGN_OR_RETURN(const PickleContents pickle, ReadPickle(std::move(bytes)));
  RETURN_IF_ERROR(CheckGlobals(pickle));
  ASSIGN_OR_RETURN(const bool big_endian, archive.IsBigEndian());
  ASSIGN_OR_RETURN(std::vector<FoundDict> dicts, DictSearch(pickle).Find());
  RETURN_IF_ERROR(Choose(pickle, key, dicts));
  PytorchContents contents{.choice = {.chosen = dicts.front().facts}};
  for (size_t i = 1; i < dicts.size(); ++i) contents.choice.others.push_back(dicts[i].facts);
  RETURN_IF_ERROR(TensorPlacing(file, pickle, archive, big_endian, contents)
                      .PlaceAll(pickle.values[dicts.front().value].items));
  return contents;
}

}  // namespace

absl::Status CheckPytorchFormat(const RandomAccessFile& file) {
  ASSIGN_OR_RETURN(const FileFormat format, FormatOf(file));
  if (format == FileFormat::kZip) return absl::OkStatus();
  if (format == FileFormat::kUnknown) {
    return absl::InvalidArgumentError("is not a zip archive, as torch.save writes it");
  }
  if (format != FileFormat::kPickle) return CheckFormat(file, FileFormat::kZip);
  return absl::InvalidArgumentError(absl::StrCat(
      "is ", Description(format),
      "; this rewrites it: python3 -c 'import sys, torch; torch.save(torch.load(sys.argv[1], "
      "map_location=\"cpu\", weights_only=True), sys.argv[2])' OLD.pt NEW.pt"));
}

absl::StatusOr<PytorchContents> ReadPytorch(const RandomAccessFile& file, const std::string& key) {
  return At(file.path(), ReadContents(file, key));
}

}  // namespace peerage
