// Adapts the loss scale, [scale, 1 / scale, steps since it changed], after a step. It is halved if the
// gradient's squared norm is not finite. It is doubled after `steps` steps in a row with a finite one.
//
// One thread.
extern "C" __global__ void adapt_loss_scale(double* loss_scale, const double* __restrict__ squared_norm,
                                            double steps, double least, double largest) {
    double scale = loss_scale[0], since = loss_scale[2] + 1;
    if (!(squared_norm[0] <= 1.7976931348623157e308)) {  // infinite or NaN
        scale = scale / 2 > least ? scale / 2 : least;
        since = 0;
    } else if (since >= steps) {
        scale = scale < largest ? scale * 2 : scale;
        since = 0;
    }
    loss_scale[0] = scale;
    loss_scale[1] = 1 / scale;
    loss_scale[2] = since;
}
