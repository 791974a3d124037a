#include "media/filter_chain.hpp"

#include "media/av_error.hpp"

extern "C" {
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/mem.h>
}

namespace mc::media {
namespace {

int parse(AVFilterGraph* graph, AVFilterContext* in, AVFilterContext* out, const std::string& chain) {
  // Named from outside: the chain's open input is fed by "in", its open output goes to "out".
  AVFilterInOut* outputs = avfilter_inout_alloc();
  AVFilterInOut* inputs = avfilter_inout_alloc();
  int code = AVERROR(ENOMEM);
  if (outputs != nullptr && inputs != nullptr) {
    outputs->name = av_strdup("in");
    outputs->filter_ctx = in;
    inputs->name = av_strdup("out");
    inputs->filter_ctx = out;
    code = avfilter_graph_parse_ptr(graph, chain.c_str(), &inputs, &outputs, nullptr);
  }
  avfilter_inout_free(&inputs);
  avfilter_inout_free(&outputs);
  return code;
}

}  // namespace

Result<FilterChain> FilterChain::open(AVMediaType type, const std::string& input, const std::string& chain) {
  const bool picture = type == AVMEDIA_TYPE_VIDEO;
  FilterChain made;
  made.graph_.reset(avfilter_graph_alloc());
  int code = made.graph_ ? 0 : AVERROR(ENOMEM);
  if (code >= 0) {
    code = avfilter_graph_create_filter(&made.in_, avfilter_get_by_name(picture ? "buffer" : "abuffer"), "in",
                                        input.c_str(), nullptr, made.graph_.get());
  }
  if (code >= 0) {
    code = avfilter_graph_create_filter(&made.out_, avfilter_get_by_name(picture ? "buffersink" : "abuffersink"), "out",
                                        nullptr, nullptr, made.graph_.get());
  }
  if (code >= 0) code = parse(made.graph_.get(), made.in_, made.out_, chain);
  if (code >= 0) code = avfilter_graph_config(made.graph_.get(), nullptr);
  if (code < 0) return fail(av_error(code, "cannot convert to the encoder's format"));
  return made;
}

void FilterChain::set_frame_size(int samples) { av_buffersink_set_frame_size(out_, static_cast<unsigned>(samples)); }

Status FilterChain::push(AVFrame* frame) {
  const int code = av_buffersrc_add_frame_flags(in_, frame, AV_BUFFERSRC_FLAG_KEEP_REF);
  if (code < 0) return fail(av_error(code, "cannot convert to the encoder's format"));
  return {};
}

Result<bool> FilterChain::pull(AVFrame* frame) {
  const int code = av_buffersink_get_frame(out_, frame);
  if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return false;
  if (code < 0) return fail(av_error(code, "cannot convert to the encoder's format"));
  return true;
}

}  // namespace mc::media
