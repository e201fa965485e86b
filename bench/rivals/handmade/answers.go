package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

const nanoDigits = 9

// allocateResult is upstream's answer to the allocation of one shipment. Numbers stay text, so that money is exact.
type allocateResult struct {
	ShipmentReference string        `json:"shipment_reference"`
	State             string        `json:"state"`
	Price             *priceObject  `json:"price"`
	Message           string        `json:"message"`
	Carrier           carrierObject `json:"carrier"`
	TrackingDetails   struct {
		Shipment trackingObject   `json:"shipment"`
		Contents []trackingObject `json:"contents"`
	} `json:"tracking_details"`
	Links            []linkObject `json:"_links"`
	CorrelationID    string       `json:"correlation_id"`
	ExcludedServices []struct {
		Carrier   carrierObject `json:"carrier"`
		Exclusion struct {
			Reason string `json:"reason"`
			Code   string `json:"code"`
		} `json:"exclusion"`
	} `json:"excluded_services"`
}

type priceObject struct {
	Net   json.Number `json:"net"`
	Gross json.Number `json:"gross"`
	Taxes []struct {
		Rate struct {
			Reference      string      `json:"reference"`
			CountryISOCode string      `json:"country_iso_code"`
			Type           string      `json:"type"`
			Value          json.Number `json:"value"`
		} `json:"rate"`
		Amount json.Number `json:"amount"`
	} `json:"taxes"`
	Currency string `json:"currency"`
}

type carrierObject struct {
	Reference        string `json:"reference"`
	Name             string `json:"name"`
	ServiceReference string `json:"service_reference"`
	ServiceName      string `json:"service_name"`
}

type trackingObject struct {
	Reference          string   `json:"reference"`
	TrackingReferences []string `json:"tracking_references"`
}

type linkObject struct {
	Href      string `json:"href"`
	Rel       string `json:"rel"`
	Reference string `json:"reference"`
	Type      string `json:"type"`
}

type bulkRequest struct {
	Shipments    []string `json:"shipments"`
	ServiceGroup string   `json:"service_group"`
}

type bulkResult struct {
	Message  string   `json:"message"`
	Queued   []string `json:"queued"`
	Rejected []struct {
		Code       string   `json:"code"`
		Message    string   `json:"message"`
		References []string `json:"references"`
	} `json:"rejected"`
	Links []linkObject `json:"_links"`
}

func (r *allocateResult) allocation() (*allocationv1.Allocation, error) {
	made := &allocationv1.Allocation{
		ShipmentReference: r.ShipmentReference,
		State:             allocationv1.ShipmentState(allocationv1.ShipmentState_value["SHIPMENT_STATE_"+strings.ToUpper(r.State)]),
		StateText:         r.State,
		Carrier:           r.Carrier.message(),
		TrackingDetails:   &allocationv1.TrackingDetails{Shipment: r.TrackingDetails.Shipment.message()},
		Links:             links(r.Links),
		CorrelationId:     r.CorrelationID,
		Message:           r.Message,
		ExcludedServices:  make([]*allocationv1.ExcludedService, len(r.ExcludedServices)),
	}
	for _, content := range r.TrackingDetails.Contents {
		made.TrackingDetails.Contents = append(made.TrackingDetails.Contents, content.message())
	}
	for index, excluded := range r.ExcludedServices {
		code := strings.ToUpper(strings.TrimPrefix(excluded.Exclusion.Code, "ex_"))
		made.ExcludedServices[index] = &allocationv1.ExcludedService{
			Carrier: excluded.Carrier.message(),
			Exclusion: &allocationv1.Exclusion{
				Reason:   excluded.Exclusion.Reason,
				Code:     allocationv1.ExclusionCode(allocationv1.ExclusionCode_value["EXCLUSION_CODE_"+code]),
				CodeText: excluded.Exclusion.Code,
			},
		}
	}
	var err error
	if r.Price != nil {
		made.Price, err = r.Price.message()
	}
	return made, err
}

func (p *priceObject) message() (*allocationv1.Price, error) {
	net, err := exact(p.Net, p.Currency)
	if err != nil {
		return nil, err
	}
	gross, err := exact(p.Gross, p.Currency)
	if err != nil {
		return nil, err
	}
	made := &allocationv1.Price{Net: net, Gross: gross}
	for _, tax := range p.Taxes {
		amount, err := exact(tax.Amount, p.Currency)
		if err != nil {
			return nil, err
		}
		made.Taxes = append(made.Taxes, &allocationv1.Tax{
			Rate: &allocationv1.TaxRate{
				Reference: tax.Rate.Reference, CountryIsoCode: tax.Rate.CountryISOCode, Type: tax.Rate.Type,
				Value: &decimal.Decimal{Value: tax.Rate.Value.String()},
			},
			Amount: amount,
		})
	}
	return made, nil
}

// exact reads an amount without ever making a binary float of it.
func exact(number json.Number, currency string) (*money.Money, error) {
	whole, fraction, _ := strings.Cut(number.String(), ".")
	units, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > nanoDigits {
		return nil, fmt.Errorf("%q is not an amount", number)
	}
	nanos := int64(0)
	if fraction != "" {
		if nanos, err = strconv.ParseInt(fraction+"000000000"[len(fraction):], 10, 32); err != nil {
			return nil, fmt.Errorf("%q is not an amount", number)
		}
	}
	if strings.HasPrefix(whole, "-") {
		nanos = -nanos
	}
	return &money.Money{CurrencyCode: currency, Units: units, Nanos: int32(nanos)}, nil
}

func (c *carrierObject) message() *allocationv1.Carrier {
	return &allocationv1.Carrier{
		Reference: c.Reference, Name: c.Name, ServiceReference: c.ServiceReference, ServiceName: c.ServiceName,
	}
}

func (t *trackingObject) message() *allocationv1.TrackingReference {
	return &allocationv1.TrackingReference{Reference: t.Reference, TrackingReferences: t.TrackingReferences}
}

func links(found []linkObject) []*allocationv1.Link {
	made := make([]*allocationv1.Link, len(found))
	for index, link := range found {
		made[index] = &allocationv1.Link{Href: link.Href, Rel: link.Rel, Reference: link.Reference, Type: link.Type}
	}
	return made
}

// response tells what became of the shipments that were asked for; of those that are not mentioned, nobody knows.
func (r *bulkResult) response(asked []string) *allocationv1.AllocateShipmentsWithServiceGroupResponse {
	made := &allocationv1.AllocateShipmentsWithServiceGroupResponse{
		Queued: r.Queued, Message: r.Message, Links: links(r.Links),
	}
	known := make(map[string]bool, len(asked))
	for _, reference := range r.Queued {
		known[reference] = true
	}
	for _, rejected := range r.Rejected {
		for _, reference := range rejected.References {
			known[reference] = true
		}
		made.Rejected = append(made.Rejected, &allocationv1.AllocationRejection{
			Code: rejected.Code, Message: rejected.Message, References: rejected.References,
		})
	}
	for _, reference := range asked {
		if !known[reference] {
			made.Unaccounted = append(made.Unaccounted, reference)
		}
	}
	return made
}
