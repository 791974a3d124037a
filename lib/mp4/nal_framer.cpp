#include <algorithm>

#include "mp4/codec.hpp"
#include "mp4/nal.hpp"

namespace mc::mp4 {
namespace {

constexpr std::size_t kMaxDeclarative = 1U << 16;  // bytes of SEI in extradata that are kept; more is no real stream

bool contains(const std::vector<ByteView>& nals, ByteView wanted) {
  return std::any_of(nals.begin(), nals.end(),
                     [&](ByteView nal) { return std::equal(nal.begin(), nal.end(), wanted.begin(), wanted.end()); });
}

}  // namespace

struct NalFramer::State {
  CodecParameters parameters;
  NalFraming framing;
  ParameterSets sets;
  std::vector<ByteBuffer> declarative;  // of the extradata: SEI for the whole stream; H.264 only
  bool described = false;

  void keep_declarative(const std::vector<ByteView>& nals) {
    std::size_t kept = 0;
    for (const ByteView nal : nals) {
      if (nal_role(parameters.codec, nal) != NalRole::other || kept + nal.size() > kMaxDeclarative) continue;
      kept += nal.size();
      declarative.emplace_back(nal.begin(), nal.end());
    }
  }
};

NalFramer::NalFramer(const CodecParameters& parameters)
    : state_(std::make_unique<State>(State{parameters, {}, ParameterSets(parameters.codec), {}, false})) {
  // Damaged extradata are no reason to fail: key frames that carry their parameter sets are enough.
  state_->framing.annex_b = parameters.extradata.empty() || parameters.extradata[0] != 1;
  if (const auto configuration = read_nal_configuration(parameters.codec, state_->parameters.extradata)) {
    state_->framing = configuration->framing;
    state_->sets.update(configuration->nals);
    if (parameters.codec == Codec::h264) state_->keep_declarative(configuration->nals);
    state_->described = state_->sets.complete();
  }
}

NalFramer::NalFramer(NalFramer&&) noexcept = default;
NalFramer& NalFramer::operator=(NalFramer&&) noexcept = default;
NalFramer::~NalFramer() = default;

Result<NalFramer::Frame> NalFramer::normalise(ByteView packet) {
  const Codec codec = state_->parameters.codec;
  MC_TRY_ASSIGN(const std::vector<ByteView> nals, split_nals(packet, state_->framing));
  Frame frame;
  bool has_sets = false;
  for (const ByteView nal : nals) {
    const NalRole role = nal_role(codec, nal);
    frame.key = frame.key || role == NalRole::key_slice;
    has_sets = has_sets || is_parameter_set(role);
  }
  const bool changed = has_sets && state_->sets.update(nals);
  if (!state_->sets.complete() || !(state_->described || frame.key)) {
    return fail(ErrorKind::unavailable, "needs a key frame with its parameter sets");
  }
  if (changed || !state_->described) {
    frame.sample_entry = make_nal_sample_entry(state_->parameters, state_->sets);
    state_->described = true;
  }

  frame.data.reserve(packet.size() + 256);
  const auto put = [&](ByteView nal) {
    append_be(frame.data, nal.size(), 4);
    append(frame.data, nal);
  };
  std::size_t first = 0;
  for (; first < nals.size() && nal_role(codec, nals[first]) == NalRole::delimiter; ++first) put(nals[first]);
  if (frame.key) {
    for (const ParameterSet& set : state_->sets.all()) {
      if (!has_sets || !contains(nals, set.nal)) put(set.nal);
    }
    for (const ByteBuffer& nal : state_->declarative) {
      if (!contains(nals, nal)) put(nal);
    }
  }
  for (; first < nals.size(); ++first) put(nals[first]);
  return frame;
}

}  // namespace mc::mp4
