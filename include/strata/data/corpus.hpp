// The tokens of many files as one long sequence, its documents, and its parts for training and validation.
// Shapes: a row for length T is T + 1 ids: inputs are the first T, labels the last T.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/random.hpp>
#include <strata/data/token_file.hpp>

namespace strata::inline STRATA_ABI {

/// Where documents end. No row crosses the end of a document.
enum class document_ends { none, files, separators };
constexpr std::array<std::string_view, 3> names_of(document_ends) { return {"none", "files", "separators"}; }

struct corpus_options {
  token_format format = token_format::bytes;
  int vocabulary = 256;  ///< every token must be less
  document_ends ends = document_ends::files;
  token separator =
      0;  ///< ends a document and begins the next: it is the last label of one, the first input of the other
  /// Files are read into memory as long as their bytes, in all, are at most this: they may then change. Others are read
  /// where they are needed.
  std::uint64_t memory = std::uint64_t{1} << 28;
};

namespace detail {

/// The part that holds number `number`, where `begins` has the begin of each part and the end of the last.
inline std::size_t part_with(std::span<const index_type> begins, index_type number) {
  return static_cast<std::size_t>(std::ranges::upper_bound(begins, number) - begins.begin()) - 1;
}

}  // namespace detail

/// The tokens of one or more files, one file after another. Files are read where they are needed. Copies share them.
class corpus {
 public:
  corpus(const std::vector<std::filesystem::path>& files, corpus_options options = {}) : options_(options) {
    require(!files.empty(), "a corpus needs at least one file");
    std::vector<token_file> opened;
    std::uint64_t kept = 0;
    for (const auto& path : files) {
      file_reader file(path);
      kept += file.size();
      if (kept <= options_.memory) file = file_reader(read_all(file), file.name());
      opened.emplace_back(std::move(file), options_.format);
    }
    take(std::move(opened));
  }
  corpus(std::vector<token_file> files, corpus_options options) : options_(options) { take(std::move(files)); }

  const corpus_options& options() const { return options_; }
  std::span<const token_file> files() const { return *files_; }
  /// The number of tokens.
  index_type size() const { return begins_.back(); }
  /// The number of the file's first token in the corpus; that of the file after the last is `size()`.
  index_type begin_of(std::size_t file) const { return begins_[file]; }

  /// Fills `ids` with the tokens from number `first` on, across the ends of files.
  void copy(index_type first, std::span<token> ids) const {
    require(first >= 0 && static_cast<index_type>(ids.size()) <= size() - first, "tokens ", first, " to ",
            first + static_cast<index_type>(ids.size()), " are not in a corpus of ", size());
    for (std::size_t file = file_of(first); !ids.empty(); ++file) {
      const index_type left = begins_[file + 1] - first;
      const auto part = ids.first(std::min(ids.size(), static_cast<std::size_t>(left)));
      (*files_)[file].copy(first - begins_[file], part, options_.vocabulary);
      first += static_cast<index_type>(part.size());
      ids = ids.subspan(part.size());
    }
  }
  /// The same tokens for a model of another vocabulary.
  corpus with_vocabulary(int vocabulary) const {
    corpus own = *this;
    own.options_.vocabulary = vocabulary;
    own.check();
    return own;
  }
  /// The file that holds token number `number`.
  std::size_t file_of(index_type number) const { return detail::part_with(begins_, number); }
  /// Calls visit(number of the first, tokens) for the tokens [first, last), a piece at a time. visit returns whether to
  /// go on.
  template <class Visit>
  void for_each_piece(index_type first, index_type last, Visit visit) const {
    std::vector<token> ids(std::size_t{1} << 16);
    for (; first < last; first += std::ssize(ids)) {
      const auto piece = std::span(ids).first(static_cast<std::size_t>(std::min(std::ssize(ids), last - first)));
      copy(first, piece);
      if (!visit(first, std::span<const token>(piece))) return;
    }
  }

 private:
  void check() const {
    require(options_.vocabulary > 0, "a vocabulary must be positive, not ", options_.vocabulary);
    require(options_.ends != document_ends::separators ||
                (options_.separator >= 0 && options_.separator < options_.vocabulary),
            "the separator ", options_.separator, " is not in the vocabulary of ", options_.vocabulary);
  }
  void take(std::vector<token_file> files) {
    check();
    files_ = std::make_shared<const std::vector<token_file>>(std::move(files));
    for (const token_file& file : *files_) begins_.push_back(begins_.back() + file.size());
  }

  corpus_options options_;
  std::shared_ptr<const std::vector<token_file>> files_;
  std::vector<index_type> begins_{0};
};

/// Ranges of the tokens of a corpus.
class corpus_part {
 public:
  struct range {
    index_type first = 0, last = 0;  ///< without `last`
    index_type size() const { return last - first; }
    bool operator==(const range&) const = default;
  };
  /// Ranges with less than two tokens have no label and are left out.
  corpus_part(corpus from, std::vector<range> ranges) : corpus_(std::move(from)), ranges_(std::move(ranges)) {
    std::erase_if(ranges_, [](const range& each) { return each.size() < 2; });
    for (const range& each : ranges_) sizes_.push_back(sizes_.back() + each.size());
  }

  const corpus& of() const { return corpus_; }
  const std::vector<range>& ranges() const { return ranges_; }
  /// The number of its tokens.
  index_type size() const { return sizes_.back(); }
  bool empty() const { return ranges_.empty(); }
  /// The range that holds token `number` of this part.
  const range& range_of(index_type number) const { return ranges_[detail::part_with(sizes_, number)]; }

 private:
  corpus corpus_;
  std::vector<range> ranges_;
  std::vector<index_type> sizes_{0};  // sums of the ranges before
};

/// A corpus in two parts.
struct corpus_split {
  corpus_part training, validation;
};

/// Calls visit(document) for each document in `range`, in order. Separators are read for this.
template <class Visit>
void for_each_document(const corpus& from, corpus_part::range range, Visit visit) {
  const corpus_options& options = from.options();
  if (options.ends == document_ends::none) return visit(range);
  while (range.size() > 0) {
    const index_type end = std::min(range.last, from.begin_of(from.file_of(range.first) + 1));
    index_type begin = range.first;
    if (options.ends == document_ends::separators) {
      from.for_each_piece(begin, end, [&](index_type first, std::span<const token> piece) {
        for (std::size_t n = 0; n < piece.size(); ++n) {
          const index_type place = first + static_cast<index_type>(n);
          if (piece[n] != options.separator || place == begin) continue;
          visit(corpus_part::range{begin, place + 1});
          begin = place;
        }
        return true;
      });
    }
    if (options.ends == document_ends::files || end - begin > 1) visit(corpus_part::range{begin, end});
    range.first = end;
  }
}

namespace detail {

/// [first, last) in pieces that do not cross the ends of files, if those end documents.
inline void add_ranges(const corpus& from, corpus_part::range range, std::vector<corpus_part::range>& ranges) {
  if (from.options().ends == document_ends::none) {
    ranges.push_back(range);
    return;
  }
  while (range.size() > 0) {
    const index_type end = std::min(range.last, from.begin_of(from.file_of(range.first) + 1));
    ranges.push_back({range.first, end});
    range.first = end;
  }
}

/// A number in [0, 1) that depends on the first tokens of a document and on its length.
inline double share_of(const corpus& from, const corpus_part::range& document) {
  std::array<token, 1024> ids;
  const auto start =
      std::span(ids).first(static_cast<std::size_t>(std::min<index_type>(std::ssize(ids), document.size())));
  from.copy(document.first, start);
  const random_source random(static_cast<std::uint64_t>(document.size()));
  std::uint64_t sum = 0;
  for (const token id : start) sum = random.bits(sum, static_cast<std::uint64_t>(id));
  return static_cast<double>(sum >> 11) * 0x1p-53;
}

}  // namespace detail

/// The last `fraction` of the tokens is for validation.
inline corpus_split split_at_end(const corpus& from, double fraction) {
  require(fraction >= 0 && fraction < 1, "validation fraction ", fraction, " is not in [0, 1)");
  const auto border = static_cast<index_type>(static_cast<double>(from.size()) * (1.0 - fraction));
  std::vector<corpus_part::range> training, validation;
  detail::add_ranges(from, {0, border}, training);
  detail::add_ranges(from, {border, from.size()}, validation);
  return {{from, std::move(training)}, {from, std::move(validation)}};
}

/// About `fraction` of the documents, whole, are for validation. A document's tokens alone decide, so equal documents are
/// in the same part, wherever they stand. Reads the whole corpus if separators end its documents.
inline corpus_split split_by_document(const corpus& from, double fraction) {
  require(fraction >= 0 && fraction < 1, "validation fraction ", fraction, " is not in [0, 1)");
  require(from.options().ends != document_ends::none, "a corpus without ends of documents cannot be split by them");
  std::vector<corpus_part::range> training, validation;
  for_each_document(from, {0, from.size()}, [&](const corpus_part::range& document) {
    auto& ranges = detail::share_of(from, document) < fraction ? validation : training;
    // Neighbours between separators share one of them, and become one range.
    if (!ranges.empty() && document.first < ranges.back().last)
      ranges.back().last = document.last;
    else
      ranges.push_back(document);
  });
  return {{from, std::move(training)}, {from, std::move(validation)}};
}

/// All of a corpus.
inline corpus_part whole(const corpus& from) { return split_at_end(from, 0).training; }

}  // namespace strata
